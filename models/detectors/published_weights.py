"""Tensors from weight files that others published; nothing in the file is executed."""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from deixis.core.errors import DataError

CONTAINERS = ("state_dict", "net_state_dict", "model")  # under which training scripts file the tensors
DATA_PARALLEL = "module."
SHOWN = 12  # names of each kind in a report


def read_tensors(path: Path, *, remedy: str) -> dict[str, Tensor]:
    """Named tensors of a safetensors file or of one that `torch.save` wrote, on the CPU.

    A dictionary inside a container is taken out of it, and the prefix of (distributed) data parallel training goes.

    Args:
        remedy: What to do with a file that holds more than tensors and plain values.

    Raises:
        DataError: If the file is missing, cut short, would have to be executed, or holds no named tensors.
    """
    stored: Any = _read(path, remedy)
    for container in CONTAINERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(container), Mapping):
            stored = stored[container]
            break
    tensors = {name: value for name, value in stored.items()} if isinstance(stored, Mapping) else {}
    strangers = [str(name) for name, value in tensors.items() if not isinstance(value, Tensor)]
    if not tensors or strangers:
        found = f"{_some(strangers)} beside tensors" if tensors else f"{type(stored).__name__} without named tensors"
        allowed = ", ".join(CONTAINERS)
        raise DataError(f"{path}: holds {found}. Allowed: named tensors, alone or under {allowed}. {remedy}")
    if all(name.startswith(DATA_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(DATA_PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def _read(path: Path, remedy: str) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: missing. Name the published weight file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[-1][:200]
        raise DataError(
            f"{path}: holds more than tensors and plain values, and reading it would execute it ({reason}). {remedy}"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a whole weight file ({reason}). Fetch it again") from None


def check_names(found: Mapping[str, Tensor], wanted: Mapping[str, Iterable[int]], path: Path, *, what: str) -> None:
    """Refuse tensors that are not exactly the wanted ones.

    Args:
        wanted: Shape of every tensor, by its name in the file.
        what: The architecture whose tensors these should be.

    Raises:
        DataError: With every missing, unexpected and wrongly shaped name, sorted; of long lists the first ones.
    """
    unlike = [
        f"{name} {list(found[name].shape)} for {list(shape)}"
        for name, shape in wanted.items()
        if name in found and list(found[name].shape) != list(shape)
    ]
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": sorted(unlike),
    }
    report = "".join(f"\n  {len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names)
    if report:
        raise DataError(
            f"{path}: not the weights of {what}. Of {len(wanted)} tensors:{report}\n"
            "Allowed: exactly its tensors. Name another file, or another kind of detector"
        )


def _some(names: list[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
