"""A long table in small chunks: read and written chunk by chunk, and joined at the end."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from deixis.core.columns import check_gaps
from deixis.core.long_tables import check_schema, count_rows, row_batches, whole_file
from deixis.core.records import write_atomically

ROWS_PER_CHUNK = 128  # the most that a killed run does again; their images' features are in memory together
ROWS_PER_GROUP = 16_384  # of the joined file
SIDES = pa.list_(pa.float64())
MASK = pa.struct([("size", pa.list_(pa.int64())), ("counts", pa.string())])
TYPES = {  # of columns whose kind a chunk without values does not tell
    "box": SIDES, "runner_up": SIDES, "match_box": SIDES, "map_box": SIDES, "boxes": SIDES,
    "point": pa.list_(pa.int64()), "experts": pa.list_(pa.string()), "mask": MASK, "prompted_mask": MASK,
    "map_mask": MASK, "mask_source": pa.string(), "reason": pa.string(),
    "file": pa.string(), "line": pa.int64(), "code": pa.string(), "value": pa.string(),
}  # fmt: skip


def count_chunks(path: Path) -> int:
    """About how many chunks `chunks` yields."""
    return max(1, math.ceil(count_rows(path, made_by="prepare") / ROWS_PER_CHUNK))


def chunks(path: Path, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Consecutive rows of a Parquet file; neighbours about one image stay together, up to twice the usual chunk.

    The index is the number of the row in the file.
    """
    held, start = pd.DataFrame(), 0
    for rows in row_batches(path, columns, rows=ROWS_PER_CHUNK, made_by="prepare"):
        held = pd.concat([held, rows], ignore_index=True)
        other = np.flatnonzero((held["image_id"] != held["image_id"].iloc[-1]).to_numpy())
        cut = int(other[-1]) + 1 if len(other) else 0
        if len(held) - cut >= ROWS_PER_CHUNK:
            cut = len(held)
        if cut:
            yield held.iloc[:cut].set_axis(pd.RangeIndex(start, start + cut))
            held, start = held.iloc[cut:].reset_index(drop=True), start + cut
    if len(held):
        yield held.set_axis(pd.RangeIndex(start, start + len(held)))


def rows_about(images: Path, image_ids: Sequence[Any], columns: Sequence[str]) -> pd.DataFrame:
    """Rows of a table of images with these ids, read without the others."""
    with whole_file(images, "prepare"):
        dataset = ds.dataset(images, format="parquet")
        check_schema(dataset.schema, columns, path=images, made_by="prepare")
        table = dataset.to_table(columns=list(columns), filter=ds.field("image_id").isin(list(image_ids)))
        table.validate(full=True)
        rows = table.to_pandas()
    check_gaps(rows, path=images, remedy="Run: dvc repro -f prepare")
    return rows


def write_chunk(rows: pd.DataFrame, path: Path) -> None:
    """Write rows with the same types whatever their values are."""
    inferred = pa.Schema.from_pandas(rows, preserve_index=False)
    fields = [field.with_type(TYPES.get(field.name, field.type)) for field in inferred]
    table = pa.Table.from_pandas(rows, schema=pa.schema(fields), preserve_index=False)
    write_atomically(path, lambda temporary: pq.write_table(table.replace_schema_metadata(), temporary))


def join_chunks(paths: Sequence[Path], out: Path) -> int:
    """One file of all rows, in order; the number of rows."""

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, pq.read_schema(paths[0])) as writer:
            for group in _groups(paths):
                writer.write_table(group)

    write_atomically(out, write)
    return pq.read_metadata(out).num_rows


def _groups(paths: Sequence[Path]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for path in paths:
        held.append(pq.read_table(path))
        if sum(len(table) for table in held) >= ROWS_PER_GROUP:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()
