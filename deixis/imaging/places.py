"""Where the images of a prepared set lie: the folder that its paths start from, and the others that they may reach."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from deixis.core.records import read_json
from deixis.imaging.decoding import as_reached

LOOKED_AT = 50  # paths of a table, to see which folder they start from
IMAGES = "images"


def find_root(images: Path, paths: Sequence[str]) -> Path | None:
    """The folder that paths of a table of images start from; None where none of the usual ones holds any.

    Args:
        images: images.parquet: in a folder of its own with `images`, in data/prepared/<dataset>, or in what
            `deixis label` has prepared.
    """
    from_root = [path for path in paths if not os.path.isabs(path)]
    found = {place: _count(place, from_root) for place in reversed(usual_roots(images))}
    best = max(found, key=lambda place: found[place])
    return best if found[best] else None


def usual_roots(images: Path) -> list[Path]:
    """Folders that may be it, likeliest last: copies of some images may lie in the others."""
    folder = images.resolve().parent
    places = [folder / IMAGES]
    if len(folder.parents) > 1:
        places.append(folder.parents[1] / "raw" / folder.name / IMAGES)
    summary = folder.parent / "summary.json"
    if summary.is_file():
        stated = read_json(summary, made_by="deixis label")
        named = stated.get("image_root") if isinstance(stated, dict) else None
        places += [Path(named)] if isinstance(named, str) else []
    return places


def allowed_folders(images: Path, root: Path) -> tuple[Path, ...]:
    """Where preparing finds or puts images: below the root, beside the tables, and beside a root called `images`."""
    beside = (root.resolve(), Path(root.absolute()).parent.resolve()) if root.name == IMAGES else (root.resolve(),)
    return (*beside, (images.parent / IMAGES).resolve())


def is_allowed(path: Path, folders: Sequence[Path]) -> bool:
    """Whether the file that a reader would open is below one of the folders, links followed."""
    try:
        whole = as_reached(path).resolve()
    except (OSError, ValueError, RuntimeError):  # a name that is too long, a zero byte, a ring of links
        return False
    return any(whole.is_relative_to(folder) for folder in folders)


def _count(place: Path, paths: Sequence[str]) -> int:
    return sum(as_reached(place / path).is_file() for path in islice(paths, LOOKED_AT))
