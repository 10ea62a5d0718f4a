"""Label Studio: tasks as its JSON export has them.

People's words are `annotations`; `predictions` are what went out, and `drafts` nobody has handed in. Of several
annotations of a task, the newest that was not cancelled counts, and the others are listed where they say something
else. `origin` is not asked. A region's text is a result of its own with the same id.
Sources: the page on exports; HumanSignal/label-studio, issues 4046 and 5138.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deixis.core.errors import DataError
from deixis.exports.label_studio import IMAGE_ADDRESS
from reviewing.decisions import Box
from reviewing.returned.rotated import wrapped
from reviewing.returned.types import Note, ReturnedFile, ReturnedImage, Shape, from_corner, texts, utc

NAME = "tasks.json"
Result = dict[str, Any]


def read(path: Path) -> ReturnedFile:
    """Read the file, or the `tasks.json` of a folder.

    Raises:
        DataError: If nobody has annotated anything.
    """
    path = path / NAME if path.is_dir() else path
    notes: list[Note] = []
    images = []
    for task in json.loads(path.read_text(encoding="utf-8")):
        done = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
        if done:
            images.append(_image(task["data"], sorted(done, key=_age), notes))
    if not images:
        raise DataError(
            f"{path}: no task has an annotation; predictions decide nothing. Submit annotations in Label Studio, and "
            "export the project as JSON"
        )
    return ReturnedFile(tuple(images), tuple(notes))


def _image(data: dict[str, Any], annotations: list[Result], notes: list[Note]) -> ReturnedImage:
    """The last annotation is the newest."""
    name = unquote(str(data["image"]).removeprefix(IMAGE_ADDRESS))
    sent = data.get("sample_ids")
    by_region = {str(region): texts(ids) for region, ids in (sent if isinstance(sent, dict) else {}).items()}
    newest = annotations[-1]
    shapes, size = _shapes(newest, by_region, name, notes)
    for older in annotations[:-1]:
        if set(_shapes(older, by_region, name, [])[0]) != set(shapes):
            what = f"annotation {older.get('id')} by {_who(older)} says something else than the newest, which counts"
            notes.append(Note(name, "", what))
    return ReturnedImage(
        name=name,
        shapes=tuple(shapes),
        size_wh=size,
        sent=dict.fromkeys((one for ids in by_region.values() for one in ids), "") if by_region else None,
        who=_who(newest),
        when=_when(newest),
        submitted=True,
    )


def _shapes(
    annotation: Result, by_region: dict[str, tuple[str, ...]], image: str, notes: list[Note]
) -> tuple[list[Shape], tuple[int, int] | None]:
    results = [result for result in annotation["result"] if isinstance(result.get("value"), dict)]
    spoken = {result["id"]: texts(result["value"]["text"]) for result in results if "text" in result["value"]}
    shapes, size = [], None
    for result in results:
        if result["type"] in ("rectanglelabels", "rectangle", "brushlabels", "brush"):
            size = int(result["original_width"]), int(result["original_height"])
            shapes.append(_shape(result, spoken.get(result["id"], ()), by_region, image, notes))
    return shapes, size


def _shape(
    result: Result,
    phrases: tuple[str, ...],
    by_region: dict[str, tuple[str, ...]],
    image: str,
    notes: list[Note],
) -> Shape:
    region = str(result["id"])
    meta = result.get("meta")
    ids = texts(meta.get("sample_ids")) if isinstance(meta, dict) else ()
    ids = ids or by_region.get(region, ())
    model = str(meta["teacher"]) if isinstance(meta, dict) and meta.get("teacher") else None
    box = _box(result) if "rect" in result["type"] else None
    if box is not None and result["value"].get("rotation"):
        notes.append(Note(image, ", ".join(ids or phrases), "turned: taken as the upright box round it"))
    return Shape(box, ids, phrases, model=model)


def _box(result: Result) -> Box:
    """Percent -> pixels. Regions are turned about their upper left corner."""
    value, width, height = result["value"], result["original_width"], result["original_height"]
    if result.get("image_rotation"):
        raise ValueError(f"region {result['id']} was drawn on a turned image; turn the image back and draw it again")
    shares = [value["x"] / 100, value["y"] / 100, value["width"] / 100, value["height"] / 100]
    box = from_corner(*(share * side for share, side in zip(shares, (width, height) * 2, strict=True)))
    return wrapped(box, float(value["rotation"]), box[:2]) if value.get("rotation") else box


def _who(annotation: Result) -> str | None:
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("username") or by.get("id")
    return f"user {by}" if isinstance(by, int) else str(by or "") or None


def _when(annotation: Result) -> str | None:
    return utc(annotation.get("updated_at")) or utc(annotation.get("created_at"))


def _age(annotation: Result) -> str:
    return _when(annotation) or ""
