"""YOLO: a text file of rows per image, and beside them `rows.json`, which says what went out.

Rows carry no ids and may have moved, so labels are found again by their place. Rows with a confidence are predictions;
outlines have no box of the label's own. `rows.json` names each image and its labels; without it, images are found by
the names of the text files.
"""

import json
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

from deixis.core.errors import DataError
from deixis.exports.yolo import label_path
from reviewing.returned.types import Note, ReturnedFile, ReturnedImage, Shape, four

BOXES, ROWS = "boxes", "rows.json"
NUMBERS = 5  # of a row with a box: class, centre, width, height
SEPARATE = "labels"


def read(folder: Path) -> ReturnedFile:
    """Read `boxes` of an export, or any folder of text files.

    Raises:
        DataError: If there is no such file in it.
    """
    folder = folder / BOXES if (folder / BOXES).is_dir() else folder
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.txt"))}
    found = {name: path for name, path in found.items() if _is_of_image(name, found) and not _is_list(path)}
    if not found:
        raise DataError(f"{folder}: no folder of YOLO's text files. Name the folder that holds {SEPARATE}/")
    rows = json.loads((folder / ROWS).read_text(encoding="utf-8")) if (folder / ROWS).is_file() else []
    known = _known(rows)
    notes: list[Note] = []
    images = []
    for name, path in found.items():
        image, sent = known.get(_key(name), (name, None))
        shapes = _shapes(path, image, notes)
        has_ending = sent is not None
        images.append(ReturnedImage(image, shapes, has_ending=has_ending, in_shares=True, sent=sent))
    models = frozenset(str(row["teacher"]) for row in rows if row.get("teacher"))
    return ReturnedFile(tuple(images), tuple(notes), models=models)


def _is_of_image(name: str, names: dict[str, Path]) -> bool:
    """Lists of images stand at the top, beside `labels`, where there is one."""
    in_folders = any(SEPARATE in PurePosixPath(other).parts[:-1] for other in names)
    return not in_folders or SEPARATE in PurePosixPath(name).parts[:-1]


def _is_list(path: Path) -> bool:
    """Whether it lists images or classes: rows of labels begin with a number.

    Raises:
        ValueError: If it is among the labels, and still does not begin with one.
    """
    words = path.read_text(encoding="utf-8-sig").split(maxsplit=1)
    is_list = bool(words) and not words[0].replace(".", "", 1).isdecimal()
    if is_list and SEPARATE in path.parts:
        raise ValueError(f"{path.name} begins with {words[0][:40]!r}, and not with the number of a class")
    return is_list


def _known(rows: list[dict[str, Any]]) -> dict[str, tuple[str, dict[str, str]]]:
    """Text file -> its image's name, and the labels that went out with it."""
    sent: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        sent[str(row["image"])] |= zip(map(str, row["sample_ids"]), map(str, row["expressions"]), strict=True)
    return {_key(str(label_path(name))): (name, of_image) for name, of_image in sent.items()}


def _key(name: str) -> str:
    """A text file's path, whether tools keep the folder `labels` or not."""
    parts = PurePosixPath(name).with_suffix("").parts
    return "/".join(part for part in parts if part != SEPARATE)


def _shapes(path: Path, image: str, notes: list[Note]) -> tuple[Shape, ...]:
    shapes = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        values = line.split()
        if len(values) == NUMBERS:
            x, y, width, height = four(values[1:])
            shapes.append(Shape((x - width / 2, y - height / 2, x + width / 2, y + height / 2)))
        elif values:
            what = "predictions decide nothing" if len(values) == NUMBERS + 1 else "outlines have no box of the label's"
            notes.append(Note(image, "", f"{path.name}, row {number}: {len(values)} numbers, and {what}"))
            shapes.append(Shape(None))
    return tuple(shapes)
