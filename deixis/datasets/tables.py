"""The tables that every adapter writes, with their column types, so that empty ones have them too."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd
import pyarrow as pa

from deixis.core.records import write_atomically

BOX = pa.list_(pa.float64())
MASK = pa.struct({"size": pa.list_(pa.int64()), "counts": pa.string()})
COLUMNS: dict[str, dict[str, pa.DataType | None]] = {  # None: an id, whole numbers or text as the source has it
    "pairs": {
        "sample_id": pa.large_string(), "image_id": None, "ref_id": None, "sent_id": None,
        "expression": pa.large_string(), "text": pa.large_string(), "split": pa.large_string(),
    },
    "truth": {
        "sample_id": pa.large_string(), "box": BOX, "mask": MASK, "category": pa.large_string(), "area": pa.float64(),
    },
    "images": {
        "image_id": None, "path": pa.large_string(), "sha256": pa.large_string(), "width": pa.int64(),
        "height": pa.int64(), "licence": pa.large_string(),
    },
    "objects": {"image_id": None, "boxes": pa.list_(pa.float64()), "categories": pa.list_(pa.int64())},
}  # fmt: skip

SPLITS = {
    "train": "train", "training": "train", "val": "val", "validation": "val", "valid": "val", "dev": "val",
    "test": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """Rows of the four tables, in the order of COLUMNS; ids still as the source has them."""

    pairs: list[tuple[Any, ...]]
    truth: list[tuple[Any, ...]]
    images: list[tuple[Any, ...]]
    objects: list[tuple[Any, ...]]


def write_tables(tables: Tables, out: Path) -> None:
    """Write the four Parquet files; ids of one kind become text where one of them is text."""
    text_ids = {name for name in ("image_id", "ref_id", "sent_id") if _any_text(tables, name)}
    for table in ("images", "objects", "truth", "pairs"):  # pairs last: who finds them finds the others
        _write_rows(getattr(tables, table), COLUMNS[table], text_ids, out / f"{table}.parquet")


def _write_rows(
    rows: list[tuple[Any, ...]], columns: dict[str, pa.DataType | None], text_ids: set[str], path: Path
) -> None:
    frame = pd.DataFrame(rows, columns=list(columns))
    for name in text_ids & set(columns):
        frame[name] = frame[name].map(str)
    id_types = {name: pa.large_string() if name in text_ids else pa.int64() for name in columns}
    schema = pa.schema({name: kind or id_types[name] for name, kind in columns.items()})
    write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False, schema=schema))


def id_key(value: Any) -> str | None:
    """Text under which an id is looked up, so that 7 and "7" are one; None if it is no text and no 64-bit integer."""
    if isinstance(value, str):
        return value if value and is_storable(value) else None
    return str(value) if is_whole(value) else None


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number that a column can hold, of 64 bits; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def whole(value: Any) -> Any:
    """An id without the ".0" that numbers get in tables with gaps; any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole_ids(row: Any, *names: str) -> Any:
    """A row whose ids of these names are whole; what is no row stays as it is."""
    if not isinstance(row, dict) or not any(isinstance(row.get(name), float) for name in names):
        return row
    return row | {name: whole(row[name]) for name in names if name in row}


def names_by_id(rows: Any) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """Names of COCO's categories or licences by the key of their id; rows that name nothing are left out.

    An id with two names has none; where that is so, and which names, comes beside.
    """
    names: dict[str, str] = {}
    unclear: dict[str, tuple[int, str]] = {}
    for line, row in enumerate(rows if isinstance(rows, list) else []):
        key = id_key(whole(row.get("id"))) if isinstance(row, dict) else None
        if key is None or not isinstance(name := row.get("name"), str) or not is_storable(name):
            continue
        if names.setdefault(key, name) != name:
            unclear[key] = (line, f"{key} is {names[key]} and {name}")
    return {key: name for key, name in names.items() if key not in unclear}, list(unclear.values())


def known_split(name: Any) -> Any:
    """`train`, `val` or `test` for what people call them, in any case; any other name as it is."""
    return SPLITS.get(name.lower(), name) if isinstance(name, str) else name


def natural(value: int | str) -> tuple[bool, int, str]:
    """Sort key under which numbers come before text and both keep their order."""
    return (True, 0, value) if isinstance(value, str) else (False, value, "")


def is_storable(text: str) -> bool:
    """Whether text can be written as UTF-8; JSON and pickles may carry halves of surrogate pairs."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _any_text(tables: Tables, name: str) -> bool:
    return any(isinstance(value, str) for value in _column(tables, name))


def _column(tables: Tables, name: str) -> Iterable[Any]:
    for table in ("pairs", "images"):
        if name in COLUMNS[table]:
            place = list(COLUMNS[table]).index(name)
            yield from (row[place] for row in getattr(tables, table))
