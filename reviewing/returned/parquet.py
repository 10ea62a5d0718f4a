"""Parquet: the table that `deixis export --to parquet` writes, edited by whatever reads such tables.

A row that is gone is a label that was removed, and so is one whose box is null. Columns `who` and `when` may be added.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reviewing.returned.types import ReturnedFile, ReturnedImage, Shape, four, texts, utc

NAME = "labels.parquet"
NEEDED = ("image_path", "width", "height", "bbox_xyxy")
READ = (
    *NEEDED, "sample_id", "sample_ids", "expression", "expressions", "accept", "who", "when", "teacher",
    "checkpoint_sha256",
)  # fmt: skip
SAID_NO = ("false", "f", "no", "n", "0", "0.0")
SAID_YES = ("true", "t", "yes", "y", "1", "1.0", "none", "nan", "")  # or nothing


def read(path: Path) -> ReturnedFile:
    """Read the file, or the `labels.parquet` of a folder."""
    path = path / NAME if path.is_dir() else path
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if lacking := [name for name in NEEDED if name not in names]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        table = file.read(columns=[name for name in READ if name in names])
        table.validate(full=True)
    rows = defaultdict(list)
    if table["image_path"].null_count:
        raise ValueError("a row has no image_path")
    for row in table.to_pylist():
        rows[row["image_path"]].append(row)
    return ReturnedFile(tuple(_image(name, of_image) for name, of_image in rows.items()))


def _image(name: str, rows: list[dict[str, Any]]) -> ReturnedImage:
    return ReturnedImage(
        name=name,
        shapes=tuple(map(_shape, rows)),
        size_wh=(int(rows[0]["width"]), int(rows[0]["height"])),
    )


def _shape(row: dict[str, Any]) -> Shape:
    box = row["bbox_xyxy"]
    return Shape(
        box=None if box is None else four(box),
        sample_ids=texts(row.get("sample_ids") or row.get("sample_id")),
        phrases=texts(row.get("expressions") or row.get("expression")),
        refused=box is None or _is_no(row.get("accept")),
        who=None if _is_missing(row.get("who")) else str(row["who"]),
        when=utc(row.get("when")),
        model=f"{row['teacher']}-{row['checkpoint_sha256'][:8]}" if _names_model(row) else None,
    )


def _is_no(value: Any) -> bool:
    """Whether somebody refused a label, in whatever form a tool writes what is true and false."""
    text = str(value).strip().lower()
    if text not in (*SAID_NO, *SAID_YES):
        raise ValueError(f"accept is {value!r}; allowed: true or false")
    return text in SAID_NO


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value


def _names_model(row: dict[str, Any]) -> bool:
    return isinstance(row.get("teacher"), str) and isinstance(row.get("checkpoint_sha256"), str)
