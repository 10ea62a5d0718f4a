"""What readers hand over: rows as found, and remarks about rows that they could not read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from deixis.core.errors import ConfigError, DataError
from deixis.datasets.pairs.settings import Fields
from deixis.datasets.quarantine import Code


class Row(NamedTuple):
    """One row of a source, nothing checked yet.

    Attributes:
        file: Path below the raw folder.
        line: Position in the file, from 0.
        image: A path, or the bytes of an image.
        text: One phrase or a list of phrases; None for an annotated object that no phrase names.
        stated_wh: Size of the image as the source gives it.
    """

    file: str
    line: int
    image: Any
    text: Any
    id: Any = None
    box: Any = None
    split: Any = None
    group: Any = None
    category_id: int = 0
    category: str = "?"
    segmentation: Any = None
    stated_wh: tuple[Any, Any] = (None, None)


class Remark(NamedTuple):
    """One row of the quarantine."""

    file: str
    line: int
    code: Code
    value: object


RowOrRemark = Row | Remark


def make_row(file: str, line: int, values: Mapping[str, Any], fields: Fields) -> RowOrRemark:
    """A row from a mapping of column names; an image may be a path, bytes, or a mapping of both."""
    if fields.image not in values or fields.text not in values:
        return Remark(file, line, "E_ROW_BROKEN", f"lacks {fields.image} or {fields.text}; has {', '.join(values)}")
    image = values[fields.image]
    if isinstance(image, Mapping):
        image = image.get("bytes") or image.get("path")
    text = values[fields.text]
    return Row(
        file,
        line,
        image,
        "" if text is None else text,
        id=values.get(fields.id),
        box=values.get(fields.box),
        split=values.get(fields.split),
        group=values.get(fields.group),
    )


def check_columns(columns: list[str], fields: Fields, *, file: str) -> None:
    """Refuse a file whose header lacks what is needed or was named, or has it twice.

    Raises:
        DataError: Naming the columns that are there and the setting that renames them.
    """
    missing = sorted(({fields.image, fields.text} | fields.named()) - set(columns))
    if missing:
        raise DataError(
            f"{file}: no column {', '.join(missing)}. Found: {', '.join(columns)}. Rename it; a dataset of "
            "params.yaml may say instead which is which, as datasets.<name>.fields: {text: caption}"
        )
    repeated = sorted({name for name in vars(fields).values() if columns.count(name) > 1})
    if repeated:
        raise DataError(
            f"{file}: several columns are called {', '.join(repeated)}. Found: {', '.join(columns)}. Allowed: one of "
            "each name. Rename them, or write one row for each"
        )


def refuse_unnamed_boxes(file: str) -> ConfigError:
    """The error for boxes of an unknown kind: guessing would be right often enough to be trusted, and then wrong."""
    return ConfigError(
        f"{file}: there are boxes, but how they are written is not said. Allowed for datasets.<name>.boxes: xyxy_abs, "
        "xywh_abs, cxcywh_norm, yxyx_norm, xyxy_norm_1000, or none to leave them out. Name one in params.yaml"
    )
