"""Rows of JSON: one object per line, one list of objects, or COCO with phrases."""

import codecs
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from deixis.core.errors import DataError
from deixis.datasets.pairs.rows import Remark, Row, RowOrRemark, make_row
from deixis.datasets.pairs.settings import Format, PairsConfig
from deixis.datasets.pairs.text_lines import decode, read_lines

FIRST_LINES = 100  # among which an object is looked for, to see its keys
PHRASE_KEYS = ("sentences", "refexp", "expression", "caption")  # where annotations of COCO files carry text
Values = dict[str, Any]


def read_jsonl(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """One object per line; a line that is none is refused alone."""
    for line, raw in read_lines(path):
        if raw is None:
            yield Remark(file, line, "E_ROW_SIZE", "a line of more than a mebibyte")
            continue
        text, remark = decode(raw, file, line)
        if not text.strip():
            continue
        if remark:
            yield remark
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            _refuse_spread_object(text, path)
            yield Remark(file, line, "E_ROW_BROKEN", f"{error}: {text.strip()}")
            continue
        yield _row_of(file, line, values, config)


def _refuse_spread_object(text: str, path: Path) -> None:
    if text.strip() in ("{", "["):
        raise DataError(
            f"{path}: an object spread over several lines. Allowed: one whole object per line, or a .json file with "
            "one list of objects. Write it so"
        )


def read_json_list(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """One list of objects. It is read whole: for very many rows use JSONL or Parquet."""
    rows = _load(path)
    if not isinstance(rows, list):
        raise DataError(
            f"{path}: a {type(rows).__name__}. Allowed: a list of objects, or COCO with images and annotations. "
            "Write it so"
        )
    for line, values in enumerate(rows):
        yield _row_of(file, line, values, config)


def first_keys(path: Path, kind: Format) -> list[str]:
    """Keys of the first object of a list, or of the first lines."""
    if kind == "json":
        rows = _load(path)
    else:
        lines = (raw for _, raw in islice(read_lines(path), FIRST_LINES) if raw)
        rows = map(_object_or_none, lines)
    return next((list(row) for row in rows if isinstance(row, dict)), [])


def _object_or_none(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _row_of(file: str, line: int, values: Any, config: PairsConfig) -> RowOrRemark:
    if not isinstance(values, dict):
        return Remark(file, line, "E_ROW_BROKEN", f"a {type(values).__name__}, not an object: {values}")
    return make_row(file, line, values, config.fields)


def is_coco(path: Path) -> bool:
    """Whether a JSON file is one object; its keys are looked at when it is read."""
    with path.open("rb") as stream:
        return stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def read_coco(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """COCO with phrases: a caption per image row, or sentences, a refexp or a caption per annotation.

    The file is read whole. Annotations without a phrase count as objects of their image. Boxes are x, y, width and
    height, as COCO says; line numbers are places in `images` or `annotations`.
    """
    whole = _load(path)
    kinds = {name: type(whole.get(name)) for name in ("images", "annotations")} if isinstance(whole, dict) else {}
    if list(kinds.values()) != [list, list]:
        raise DataError(
            f"{path}: not a COCO file. Allowed: an object with lists `images` and `annotations`. Write it so"
        )
    images, captioned = _index_images(whole["images"])
    categories = {row.get("id"): str(row.get("name")) for row in whole.get("categories", []) if isinstance(row, dict)}
    boxed: dict[Any, list[Values]] = defaultdict(list)
    for line, annotation in enumerate(whole["annotations"]):
        place = f"{file}#annotations"
        image = images.get(_key(annotation.get("image_id"))) if isinstance(annotation, dict) else None
        if image is None:
            yield Remark(place, line, "E_ROW_BROKEN", f"an annotation of no image: {annotation}")
        elif _key(annotation["image_id"]) in captioned:
            boxed[_key(annotation["image_id"])].append(annotation)
        else:
            text, name = _phrases(annotation, config), str(annotation.get("id", f"{place}:{line}"))
            yield _coco_row(place, line, image, annotation, text, categories)._replace(id=name, group=name)
    for line, image in captioned.values():
        annotations = boxed[_key(image["id"])]
        if len(annotations) > 1:
            yield Remark(f"{file}#images", line, "E_BOX_BROKEN", f"{len(annotations)} boxes for one caption")
        about = annotations[0] if len(annotations) == 1 else {}
        yield _coco_row(f"{file}#images", line, image, about, image["caption"], categories)
    for line, image in enumerate(whole["images"]):
        if not isinstance(image, dict) or _key(image.get("id")) not in images:
            yield Remark(f"{file}#images", line, "E_ROW_BROKEN", f"an image without id or file_name: {image}")


def _index_images(rows: list[Any]) -> tuple[dict[str, Values], dict[str, tuple[int, Values]]]:
    """Sound image rows by id, and those with a caption together with their place."""
    images, captioned = {}, {}
    for line, row in enumerate(rows):
        if isinstance(row, dict) and isinstance(row.get("id"), int | str) and isinstance(row.get("file_name"), str):
            images[_key(row["id"])] = row
            if "caption" in row:
                captioned[_key(row["id"])] = (line, row)
    return images, captioned


def _key(image_id: Any) -> str:
    return str(image_id)


def _phrases(annotation: Values, config: PairsConfig) -> Any:
    """Text of an annotation, one or many; None where it has none."""
    for key in (config.fields.text, *PHRASE_KEYS):
        if key in annotation:
            value = annotation[key]
            if not isinstance(value, list):
                return "" if value is None else value
            return [
                item.get("raw", item.get("sent", item.get("text"))) if isinstance(item, dict) else item
                for item in value
            ]
    return None


def _coco_row(place: str, line: int, image: Values, about: Values, text: Any, categories: dict[Any, str]) -> Row:
    kind = about.get("category_id")
    return Row(
        place,
        line,
        image["file_name"],
        text,
        box=about.get("bbox"),
        split=about.get("split", image.get("split")),
        category_id=kind if isinstance(kind, int) else 0,
        category=categories.get(kind, "?") if isinstance(kind, int) else "?",
        segmentation=about.get("segmentation") or None,
        stated_wh=(image.get("width"), image.get("height")),
    )


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not valid JSON ({error}). One object per line belongs in a .jsonl file. Fix it"
        ) from None
