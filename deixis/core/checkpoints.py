"""Weights as safetensors beside a config that says what to build; and the key of a run's scratch folder."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deixis.core.errors import DataError
from deixis.core.fingerprint import Code, loaded_modules
from deixis.core.foreign import foreign_bytes
from deixis.core.records import described_file, file_sha256, write_atomically, write_json


def run_key(*parts: Any, entries: Iterable[str] = (), threads: bool = True) -> str:
    """Name of a scratch folder: a hash of everything that decides a run's result, our code included.

    Args:
        parts: Settings by their text, files (as Path) by their content.
        entries: Modules whose closures are the code that decides; by default all that is loaded.
        threads: Whether another number of threads is another run. It is in training, where rounding adds up; a frozen
            model's answers about an image may be begun on one machine and ended on another.
    """
    code = Code()
    modules = {name for entry in entries for name in code.closure(entry)} or loaded_modules(code)
    ours = code.fingerprint(modules)
    digest = hashlib.sha256(repr((torch.__version__, threads and torch.get_num_threads(), ours)).encode())
    for part in parts:
        digest.update(file_sha256(part).encode() if isinstance(part, Path) else repr(part).encode())
    return digest.hexdigest()[:16]


def save_state(tensors: dict[str, Tensor], facts: Any, path: Path) -> None:
    """Write tensors and JSON-able facts as one safetensors file."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"facts": json.dumps(facts)}
    write_atomically(path, lambda temporary: save_file(whole, temporary, metadata))


def load_state(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read what `save_state` wrote."""
    remedy = "Delete it, then run: dvc repro"
    with foreign_bytes(path, "a whole safetensors file", remedy), safe_open(path, "pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
        return tensors, json.loads((stored.metadata() or {}).get("facts", "null"))


def save_checkpoint(model: nn.Module, folder: Path, *, config: dict[str, Any]) -> None:
    """Write `model.safetensors` and `config.json`; the config says all that is needed to build the model again."""
    save_state(model.state_dict(), None, folder / "model.safetensors")
    sizes = {"num_parameters": count_parameters(model), "sha256": file_sha256(folder / "model.safetensors")}
    write_json(config | sizes, folder / "config.json")


def load_checkpoint(model: nn.Module, folder: Path, *, made_by: str) -> None:
    """Load weights into `model`, strictly.

    Raises:
        DataError: If the file is missing or not the one that the card describes, or was written for another
            architecture.
    """
    path = described_file(folder, made_by=made_by)
    tensors, _ = load_state(path)
    differences = compare_states(model.state_dict(), tensors)
    summary = "; ".join(f"{len(names)} {what} ({names[0]}, ...)" for what, names in differences.items())
    if summary:
        raise DataError(
            f"{path}: a checkpoint of another architecture than {type(model).__name__} as configured: {summary}. "
            f"Allowed: the same sizes as in params.yaml. Run: dvc repro -f {made_by}"
        )
    model.load_state_dict(tensors, strict=True)


def compare_states(expected: dict[str, Tensor], stored: dict[str, Tensor]) -> dict[str, list[str]]:
    """What keeps `stored` from being loaded as `expected`: sorted names per kind of difference, with unlike shapes."""
    unlike = [
        f"{name} {list(stored[name].shape)} for {list(expected[name].shape)}"
        for name in expected.keys() & stored.keys()
        if expected[name].shape != stored[name].shape
    ]
    problems = {
        "missing": sorted(expected.keys() - stored.keys()),
        "unexpected": sorted(stored.keys() - expected.keys()),
        "of another shape": sorted(unlike),
    }
    return {what: names for what, names in problems.items() if names}


def count_parameters(model: nn.Module) -> int:
    """Number of trained and frozen parameters; buffers are not counted."""
    return sum(parameter.numel() for parameter in model.parameters())
