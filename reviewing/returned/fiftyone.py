"""FiftyOne: `samples.json` of a `FiftyOneDataset`.

Today's exports are records of its database, in MongoDB's extended JSON; ours has the older form, without it. What a
person reads here is the same in both. Boxes are shares of the image. Where FiftyOne copied the images, `filepath` is
`data/` and perhaps another name.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reviewing.returned.types import ReturnedFile, ReturnedImage, Shape, from_corner, texts, utc

NAME = "samples.json"
BOXES, MASKS = "boxes", "masks"
WRAPPED = ("$numberInt", "$numberLong", "$numberDouble", "$oid", "$date")  # keys of extended JSON's typed values


def read(path: Path) -> ReturnedFile:
    """Read the file, or the `samples.json` of a folder."""
    path = path / NAME if path.is_dir() else path
    samples = json.loads(path.read_text(encoding="utf-8"), object_hook=_plain)["samples"]
    return ReturnedFile(tuple(map(_image, samples)))


def _plain(value: dict[str, Any]) -> Any:
    """Numbers, ids and times of extended JSON as plain ones."""
    if len(value) == 1 and (kind := next(iter(value))) in WRAPPED:
        inner = value[kind]
        return float(inner) if kind.startswith("$number") else inner
    return value


def _when(value: Any) -> str | None:
    """Text, or milliseconds since 1970."""
    return utc(datetime.fromtimestamp(value / 1000, UTC) if isinstance(value, int | float) else value)


def _image(sample: dict[str, Any]) -> ReturnedImage:
    fields = {
        name: value for name, value in sample.items() if isinstance(value, dict) and value.get("_cls") == "Detections"
    }
    boxes = [BOXES] if BOXES in fields else [name for name in fields if name != MASKS]
    shapes = [_shape(row) for name in boxes for row in fields[name]["detections"]]
    shapes += [_shape(row | {"bounding_box": None}) for row in fields.get(MASKS, {}).get("detections", [])]
    about = sample.get("metadata")
    size = (about.get("width"), about.get("height")) if isinstance(about, dict) else (None, None)
    return ReturnedImage(
        name=str(sample["filepath"]).replace("\\", "/"),
        shapes=tuple(shapes),
        size_wh=(int(size[0]), int(size[1])) if size[0] and size[1] else None,
        in_shares=True,
        when=_when(sample.get("last_modified_at")),
    )


def _shape(row: dict[str, Any]) -> Shape:
    box = row["bounding_box"]
    return Shape(
        box=None if box is None else from_corner(*box),
        sample_ids=texts(row.get("sample_ids")),
        phrases=texts(row.get("expressions")),
        model=texts(row.get("teacher"))[0] if row.get("teacher") else None,
    )
