"""RefCOCO's own files, in and out: `instances.json` and `refs(<split by>).p`; other sources' JSON is read here too.

The pickle is read by an unpickler that resolves no names, so a hostile file cannot run anything.
"""

import io
import json
import pickle
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deixis.core.errors import DataError
from deixis.datasets.foreign_json import parse_json

BROKEN_PICKLE = (
    pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError, OverflowError,
    MemoryError,
)  # fmt: skip
OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
NUMBERING = ("PUT", "BINPUT", "LONG_BINPUT")
FOREIGN = {b"PK\x03\x04": "a zip archive, as torch.save writes it", b"\x1f\x8b": "a gzip archive"}  # by first bytes


@dataclass(frozen=True)
class ReferFolder:
    """The two files of a folder as plain values; nothing below the lists is checked yet."""

    instances: dict[str, Any]
    refs: list[Any]
    refs_path: Path


PLAIN = "pickle.dump(json.loads(json.dumps(refs, default=lambda value: value.tolist())), file)"


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        kind = _NumPyObject if module_name.split(".")[0] == "numpy" else pickle.UnpicklingError
        raise kind(f"it names the object {module_name}.{global_name}")


class _NumPyObject(pickle.UnpicklingError):
    """The file holds numbers or arrays of NumPy, which have plain values."""


def read_plain_pickle(path: Path) -> Any:
    """Load a pickle of built-in containers, text and numbers; anything else is refused, nothing is executed.

    Byte strings of Python 2 come as text with one character per byte; `fix_text` makes UTF-8 of them.

    Raises:
        DataError: If the file refers to any object by name, is an archive, or is not a whole pickle.
    """
    try:
        content = path.read_bytes()
        for start, kind in FOREIGN.items():
            if content.startswith(start):
                raise pickle.UnpicklingError(f"it is {kind}")
        _check_numbers(content)
        return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file. Allowed: refs(<split by>).p beside instances.json. "
            "Put it there, then run: dvc repro prepare"
        ) from None
    except BROKEN_PICKLE as error:
        own = f", or write plain values if you made it: {PLAIN}" if isinstance(error, _NumPyObject) else ""
        raise DataError(
            f"{path}: refused: {error}. Allowed: a whole pickle of lists, dictionaries, text and numbers. "
            f"Fetch the file again{own}, then run: dvc repro prepare"
        ) from None


def _check_numbers(content: bytes) -> None:
    """Refuse a number under which a value is kept that is beyond the file's length.

    The unpickler reserves memory up to the number: five bytes could ask for gigabytes.
    """
    stream = io.BytesIO(content)
    while (opcode := OPCODES.get(stream.read(1))) is not None and opcode.name != "STOP":
        if opcode.name == "STRING":  # whose reader takes ASCII alone
            stream.readline()
        elif opcode.arg is not None:
            value = opcode.arg.reader(stream)
            if opcode.name in NUMBERING and value > len(content):
                raise pickle.UnpicklingError(f"it numbers a value {value}, in a file of {len(content)} bytes")


def fix_text(text: str) -> str:
    """Text of a Python 2 byte string, read as one character per byte, as what was typed.

    The published pickles hold both UTF-8 and single-byte trade-mark signs. Text that is no such reading is kept.
    """
    if text.isascii():
        return text
    try:
        encoded = text.encode("latin1")
    except UnicodeEncodeError:
        return text
    for encoding in ("utf-8", "cp1252"):
        try:
            return encoded.decode(encoding)
        except UnicodeDecodeError:
            continue
    return text


def read_json(path: Path, *, what: str) -> Any:
    """Read foreign JSON.

    Raises:
        DataError: If the file is missing or no JSON; names `what` it should be.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Put {what} there, then run: dvc repro prepare") from None
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not JSON ({error}). Allowed: {what}. Fetch it again, then run: dvc repro prepare"
        ) from None


def read_refer_folder(folder: Path, *, split_by: str) -> ReferFolder:
    """Read one dataset folder; values are checked later, row by row.

    Raises:
        DataError: If a file is missing or not what its name says.
    """
    path, refs_path = folder / "instances.json", folder / f"refs({split_by}).p"
    instances = read_json(path, what="RefCOCO's instances.json")
    lists = ("images", "annotations", "categories")
    if not isinstance(instances, dict) or any(not isinstance(instances.get(name), list) for name in lists):
        raise DataError(
            f"{path}: not a COCO instances file. Allowed: JSON with the lists {', '.join(lists)}. "
            "Fetch it again, then run: dvc repro prepare"
        )
    refs = read_plain_pickle(refs_path)
    if not isinstance(refs, list):
        raise DataError(
            f"{refs_path}: found {type(refs).__name__}. Allowed: a list of refs. "
            "Fetch the file again, then run: dvc repro prepare"
        )
    return ReferFolder(instances=instances, refs=refs, refs_path=refs_path)


def write_refer_folder(
    folder: Path, *, instances: dict[str, Any], refs: list[dict[str, Any]] | None, split_by: str
) -> None:
    """Write the annotation files; images are written by the caller."""
    (folder / "instances.json").write_text(json.dumps(instances), encoding="utf-8")
    if refs is not None:
        (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol=2))
