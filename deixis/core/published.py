"""Weights that others published: read without running anything that a file says, checked name by name."""

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from deixis.core.checkpoints import compare_states
from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.undrawn import Undrawn

CONTAINERS = ("state_dict", "net_state_dict", "model")  # under which training scripts file the tensors
DATA_PARALLEL = "module."
REMEDY = "Unzip it if the release zipped it, else fetch it again or save it as safetensors"
INERT: list[Any] = [
    argparse.Namespace
]  # what training scripts save beside the tensors: it holds values and does nothing
FILE_NAMES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")


def read_tensors(path: Path, *, remedy: str = REMEDY) -> dict[str, Tensor]:
    """Tensors of a published file, by name, on the CPU; half precision becomes single.

    A dictionary of tensors under one of CONTAINERS is taken out, and the prefix of data parallel training goes.

    Args:
        path: A `.safetensors` file, a file that `torch.save` wrote, or a model folder that holds one of FILE_NAMES.
        remedy: What to do with a file that holds anything else.

    Raises:
        DataError: If there is no such file, or it holds anything but tensors.
    """
    path = weight_file(path)
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_saved(path, remedy)
    inside = next((name for name in CONTAINERS if isinstance(tensors.get(name), Mapping)), None)
    tensors = tensors if inside is None else tensors[inside]
    others = [name for name, value in tensors.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others or not tensors:
        what = f"{others[0]} is a {type(tensors[others[0]]).__name__}" if others else "it is empty"
        raise DataError(
            f"{path}: {what}. Allowed: names of tensors only, alone or under {', '.join(CONTAINERS)}. "
            "Save the model's state_dict() alone, or fetch the release's own file again"
        )
    if all(name.startswith(DATA_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(DATA_PARALLEL): tensor for name, tensor in tensors.items()}
    with foreign_bytes(path, "a file of plain tensors", remedy):
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def weight_file(path: Path) -> Path:
    """The file itself, or the one of a model folder that holds the weights."""
    if path.is_dir():
        present = [path / name for name in FILE_NAMES if (path / name).is_file()]
        if not present:
            raise DataError(f"{path}: holds no weights. Allowed: {', '.join(FILE_NAMES)}. Put one of them there")
        return present[0]
    if not path.is_file():
        raise DataError(f"{path}: no such file. Put the published weights there, or name their place")
    return path


def _read_safetensors(path: Path) -> dict[str, Any]:
    with foreign_bytes(path, "a whole safetensors file", "Fetch it again"):
        return load_file(path)


def _read_saved(path: Path, remedy: str) -> dict[Any, Any]:
    with foreign_bytes(path, "a whole weight file", remedy), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about pickles of an odd form
        if _is_torchscript(path):
            raise DataError(
                f"{path}: a TorchScript archive, which is code. Allowed: tensors only. Take the same weights as "
                "safetensors, for CLIP from openai/clip-vit-base-patch32 or timm/resnet50_clip.openai"
            )
        try:
            with torch.serialization.safe_globals(INERT):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            reason = str(error).splitlines()[-1][:200]
            raise DataError(
                f"{path}: not a file of plain tensors, and reading it would execute it ({reason}). {remedy}"
            ) from None
    if not isinstance(loaded, dict):
        raise DataError(f"{path}: holds a {type(loaded).__name__}. Allowed: a state_dict. Save model.state_dict()")
    return loaded


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def renamed(tensors: Mapping[str, Tensor], rules: Mapping[str, str]) -> dict[str, Tensor]:
    """Apply regular expressions to every name, in their order."""
    by_new_name = {}
    for name, tensor in tensors.items():
        for pattern, new in rules.items():
            name = re.sub(pattern, new, name)
        by_new_name[name] = tensor
    return by_new_name


def count_layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered layers there are under `prefix`, which ends with a dot."""
    numbers = {match[1] for name in tensors if (match := re.match(re.escape(prefix) + r"(\d+)\.", name))}
    return len(numbers)


def published_tensor(tensors: Mapping[str, Tensor], name: str, *, path: Path) -> Tensor:
    """A tensor that tells a model's sizes.

    Raises:
        DataError: If the file has none of that name: it is another model's.
    """
    if name not in tensors:
        some = ", ".join(sorted(tensors)[:5])
        raise DataError(
            f"{path}: lacks {name}; has {len(tensors)} others, {some}, ... It is another model's file, or another "
            "layout. Fetch the file that the model's card names"
        )
    return tensors[name]


def check_published(build: Callable[[], nn.Module], tensors: dict[str, Tensor], *, path: Path) -> dict[str, Tensor]:
    """`tensors`, once they fit in every name and shape what `build` makes; it is built without memory.

    Raises:
        DataError: If they do not; lists every name that is missing, unexpected or of another shape.
    """
    with torch.device("meta"), Undrawn():
        model = build()
    expected = model.state_dict()
    check_names(tensors, expected, path=path, what=f"a {type(model).__name__}, by our names")
    return {name: tensors[name] for name in expected}


def check_names(tensors: dict[str, Tensor], expected: dict[str, Tensor], *, path: Path, what: str) -> None:
    """Refuse tensors that have not exactly the wanted names and shapes.

    Args:
        what: The architecture whose tensors these should be.

    Raises:
        DataError: Lists every name that is missing, unexpected or of another shape.
    """
    differences = compare_states(expected, tensors)
    if differences:
        lines = [f"{len(names)} {kind}: {', '.join(names)}" for kind, names in differences.items()]
        raise DataError(
            f"{path}: not the weights of {what}. Of {len(expected)} tensors:\n"
            + "\n".join(lines)
            + "\nFetch the file that the model's card names, or name another kind of model"
        )
