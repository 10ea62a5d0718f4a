"""Rows of COCO files that have phrases: a caption per image row, or sentences, a refexp or a caption per annotation."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from deixis.core.errors import DataError
from deixis.datasets.foreign_json import RepeatedKey
from deixis.datasets.pairs.json_files import load_json
from deixis.datasets.pairs.rows import Remark, Row, RowOrRemark
from deixis.datasets.pairs.settings import PairsConfig
from deixis.datasets.quarantine import shown
from deixis.datasets.tables import id_key, names_by_id, whole

PHRASE_KEYS = ("sentences", "refexp", "expression", "caption")  # where annotations carry text
MARKS = codecs.BOM_UTF8 + codecs.BOM_UTF16_LE + b"\0 \t\r\n"  # bytes before the first of JSON, and of UTF-16's blanks
NUMBER = re.compile(r"-?[0-9]{1,18}")
Values = dict[str, Any]


class _Image(NamedTuple):
    """A sound image row, its place, and the annotations of it that no phrase names."""

    line: int
    row: Values
    unnamed: list[Values]


def is_coco(path: Path) -> bool:
    """Whether a JSON file holds one object and not a list; whether COCO's lists are in it shows when it is read."""
    with path.open("rb") as stream:
        return stream.read(4096).lstrip(MARKS).startswith(b"{")


def read_coco(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """Every phrase with its image, and with its box where there is one.

    The file is read whole. Annotations without a phrase count as objects of their image; where it has one only, that is
    what the image's own caption is about. Boxes are x, y, width and height, as COCO says; line numbers are places in
    `images` or `annotations`.
    """
    content, noted = load_json(path, file)
    kinds = {name: type(content.get(name)) for name in ("images", "annotations")} if isinstance(content, dict) else {}
    if list(kinds.values()) != [list, list]:
        found = f" ({content!r})" if isinstance(content, RepeatedKey) else ""
        raise DataError(
            f"{path}: not a COCO file{found}. Allowed: an object with lists `images` and `annotations`. Write it so"
        )
    yield from noted
    names, unclear = names_by_id(content.get("categories"))
    images, remarks = _index_images(content["images"], f"{file}#images")
    place = f"{file}#annotations"
    for line, annotation in enumerate(content["annotations"]):
        image = images.get(_image_key(annotation)) if isinstance(annotation, dict) else None
        if image is None:
            yield Remark(place, line, "E_ROW_BROKEN", f"an annotation of no image: {shown(annotation)}")
        elif isinstance(image, Remark):
            yield Remark(place, line, image.code, image.value)
        else:
            text = _phrases(annotation, config)
            if text is None and _caption(image.row) is not None:
                image.unnamed.append(annotation)
                continue
            yield _row(place, line, image.row, annotation, text, names)
    for image in images.values():
        if isinstance(image, _Image) and _caption(image.row) is not None:
            yield from _captioned(image, f"{file}#images", names)
    yield from remarks
    for line, said in unclear:
        yield Remark(f"{file}#categories", line, "E_ID_DUP", said)


def _index_images(rows: list[Any], place: str) -> tuple[dict[str | None, _Image | Remark], list[Remark]]:
    """Images by id, and what is wrong with the other rows.

    An id that two images have stands for neither: which of them an annotation means cannot be told, as in files that
    were merged without new numbers.
    """
    images: dict[str | None, _Image | Remark] = {}
    remarks: list[Remark] = []
    for line, row in enumerate(rows):
        key = id_key(whole(row.get("id"))) if isinstance(row, dict) else None
        if key is None or not isinstance(row.get("file_name"), str):
            remarks.append(Remark(place, line, "E_ROW_BROKEN", f"an image without id or file_name: {row}"))
            continue
        first = images.setdefault(key, _Image(line, row, []))
        if isinstance(first, _Image) and first.row is row:
            continue
        if isinstance(first, _Image) and first.row["file_name"] != row["file_name"]:
            names = f"{first.row['file_name']}, {row['file_name']}"
            first = images[key] = Remark(place, first.line, "E_ID_DUP", f"two images have the id {key}: {names}")
            remarks.append(first)
        remarks.append(Remark(place, line, "E_ID_DUP", f"image {key}, {row['file_name']}"))
    return images, remarks


def _image_key(annotation: Values) -> str | None:
    return id_key(whole(annotation.get("image_id")))


def _caption(image: Values) -> Any:
    """What an image row says of its image; null is nothing."""
    return image.get("caption")


def _captioned(image: _Image, place: str, names: dict[str, str]) -> Iterator[RowOrRemark]:
    """The caption of an image row, with the box of the only annotation that has no phrase."""
    if len(image.unnamed) > 1:
        yield Remark(place, image.line, "E_BOX_BROKEN", f"{len(image.unnamed)} boxes for one caption")
    about = image.unnamed[0] if len(image.unnamed) == 1 else {}
    row = _row(place, image.line, image.row, about, image.row["caption"], names)
    yield row._replace(id=None, group=None)


def _phrases(annotation: Values, config: PairsConfig) -> Any:
    """Text of an annotation, one or many; None where it has none."""
    keys = (config.fields.text, *PHRASE_KEYS)
    text = next((annotation[key] for key in keys if annotation.get(key) is not None), None)
    if not isinstance(text, list):
        return text
    return [item.get("raw", item.get("sent", item.get("text"))) if isinstance(item, dict) else item for item in text]


def _row(place: str, line: int, image: Values, about: Values, text: Any, names: dict[str, str]) -> Row:
    kind = id_key(whole(about.get("category_id"))) or ""
    name = about.get("id") if about.get("id") is not None else f"{place}:{line}"
    return Row(
        place,
        line,
        image["file_name"],
        text,
        id=name,
        box=about.get("bbox"),
        split=image.get("split") if about.get("split") is None else about["split"],
        group=name,
        category_id=int(kind) if NUMBER.fullmatch(kind) else 0,
        category=names.get(kind, "?"),
        segmentation=about.get("segmentation"),
        stated_wh=(image.get("width"), image.get("height")),
    )
