"""What the columns of our tables hold, by name: a name means the same in every table."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import types

from deixis.core.errors import DataError

Check = Callable[[pa.DataType], bool]


def _is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_number(kind: pa.DataType) -> bool:
    return types.is_integer(kind) or types.is_floating(kind)


def _is_id(kind: pa.DataType) -> bool:
    return _is_text(kind) or _is_number(kind)


def _is_numbers(kind: pa.DataType) -> bool:
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and _is_number(kind.value_type)


def _is_mask(kind: pa.DataType) -> bool:
    if not types.is_struct(kind) or sorted(field.name for field in kind) != ["counts", "size"]:
        return False
    return _is_text(kind.field("counts").type) and _is_numbers(kind.field("size").type)


KINDS: dict[str, tuple[str, Check]] = {
    **dict.fromkeys(("sample_id", "image_id", "ref_id", "sent_id"), ("numbers or text", _is_id)),
    **dict.fromkeys(
        ("expression", "text", "split", "path", "sha256", "licence", "reason", "teacher",
         "checkpoint_sha256", "config_sha256", "mask_source", "human", "category", "code"),
        ("text", _is_text),
    ),
    **dict.fromkeys(("width", "height", "shard", "row"), ("whole numbers", types.is_integer)),
    **dict.fromkeys(
        ("score", "margin", "mask_quality", "area", "confidence", "agreement"), ("numbers", _is_number)
    ),
    **dict.fromkeys(("box", "map_box", "runner_up"), ("lists of numbers", _is_numbers)),
    **dict.fromkeys(("mask", "prompted_mask", "map_mask"), ("run-length codes, of size and counts", _is_mask)),
    "accept": ("true or false", types.is_boolean),
}  # fmt: skip
ALWAYS = ("sample_id", "image_id", "path", "width", "height", "shard", "row", "accept")  # no row is without


def check_columns(schema: pa.Schema, columns: Sequence[str], *, path: Path, remedy: str) -> None:
    """Refuse a table whose columns hold something else than their names say.

    Raises:
        DataError: Names the first such column, and what was found.
    """
    for name in columns:
        if schema.names.count(name) > 1:
            raise DataError(f"{path}: has {schema.names.count(name)} columns {name}. {remedy}")
        expected, fits = KINDS.get(name, ("", lambda _: True))
        kind = schema.field(name).type
        if not fits(kind) and (name in ALWAYS or not types.is_null(kind)):
            raise DataError(f"{path}: the column {name} holds {str(kind)[:80]}; allowed: {expected}. {remedy}")


def check_gaps(table: pd.DataFrame, *, path: Path, remedy: str) -> None:
    """Refuse rows without what every row must have.

    Raises:
        DataError: Names the column and the first such row, from 0.
    """
    for name in ALWAYS:
        if name in table and (gaps := table[name].isna()).any():
            raise DataError(f"{path}: row {int(gaps.argmax())} has no {name}. {remedy}")
