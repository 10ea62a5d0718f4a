"""RefCOCO's own on-disk format, in and out: `instances.json`, `refs(<split by>).p`, JPEG images.

The pickle is read by an unpickler that resolves no names, so a hostile file cannot run anything.
"""

import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deixis.core.errors import DataError


@dataclass(frozen=True)
class ReferFolder:
    """The two files of a folder as plain values, plus where the images lie."""

    instances: dict[str, Any]
    refs: list[Any]  # as found; `prepare` looks at each
    image_root: Path
    refs_path: Path


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"it names the object {module_name}.{global_name}")


def read_plain_pickle(path: Path) -> Any:
    """Load a pickle of built-in containers, text and numbers; anything else is refused, nothing is executed.

    Raises:
        DataError: If the file refers to any object by name, or is not a whole pickle.
    """
    try:
        return _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file. Allowed: refs(<split by>).p beside instances.json. "
            "Put it there, then run: dvc repro prepare"
        ) from None
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path}: refused: {error}. Allowed: a whole pickle of lists, dictionaries, text and numbers. "
            "Fetch the file again, then run: dvc repro prepare"
        ) from None


def read_refer_folder(folder: Path, *, split_by: str) -> ReferFolder:
    """Read one dataset folder; values are checked later, row by row.

    Raises:
        DataError: If a file is missing or not what its name says.
    """
    path = folder / "instances.json"
    try:
        instances = json.loads(path.read_text(encoding="utf-8"))
        kinds = {name: type(instances[name]) for name in ("images", "annotations", "categories")}
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file. Put RefCOCO's instances.json there, then run: dvc repro prepare"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a COCO instances file ({error}). Allowed: JSON with images, annotations, categories. "
            "Fetch it again, then run: dvc repro prepare"
        ) from None
    refs_path = folder / f"refs({split_by}).p"
    refs = read_plain_pickle(refs_path)
    if any(kind is not list for kind in kinds.values()) or not isinstance(refs, list):
        raise DataError(
            f"{folder}: images, annotations, categories and refs must be lists. "
            "Fetch the files again, then run: dvc repro prepare"
        )
    return ReferFolder(instances=instances, refs=refs, image_root=folder / "images", refs_path=refs_path)


def write_refer_folder(
    folder: Path, *, instances: dict[str, Any], refs: list[dict[str, Any]] | None, split_by: str
) -> None:
    """Write the annotation files; images are written by the caller."""
    (folder / "instances.json").write_text(json.dumps(instances), encoding="utf-8")
    if refs is not None:
        (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol=2))
