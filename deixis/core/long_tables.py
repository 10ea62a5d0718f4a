"""Tables of any length, some rows at a time."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deixis.core.columns import check_columns, check_gaps
from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.records import read_table, write_atomically, write_table

ROWS_AT_ONCE = 1 << 16


def row_batches(
    path: Path, columns: Sequence[str], *, rows: int, made_by: str, optional: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """Consecutive rows of a Parquet file that the stage `made_by` wrote, at most so many at a time.

    Args:
        optional: Columns that are read where there are such.

    Raises:
        DataError: If the file is missing, cut short, or lacks a column, or one holds something else than its name says.
    """
    with whole_file(path, made_by), pq.ParquetFile(path) as file:
        wanted = [*columns, *(name for name in optional if name in file.schema_arrow.names)]
        check_schema(file.schema_arrow, wanted, path=path, made_by=made_by)
        for batch in file.iter_batches(batch_size=rows, columns=wanted):
            batch.validate(full=True)  # of damaged text, pandas would say so where it is looked at
            yield batch.to_pandas()[wanted]


def rows_where(
    path: Path,
    columns: Sequence[str],
    keep: Callable[[pd.DataFrame], pd.Series],
    *,
    made_by: str,
    optional: Sequence[str] = (),
) -> pd.DataFrame:
    """Those rows of a Parquet file that are wanted, read without holding the others.

    Args:
        keep: Some rows -> whether each is wanted.
    """
    parts: list[pd.DataFrame] = []
    for batch in row_batches(path, columns, rows=ROWS_AT_ONCE, made_by=made_by, optional=optional):
        check_gaps(batch, path=path, remedy=f"Run: dvc repro -f {made_by}")
        parts.append(batch[keep(batch)])
    if not parts:
        return read_table(path, columns=tuple(columns), made_by=made_by, optional=tuple(optional))
    return pd.concat(parts, ignore_index=True)


def check_schema(schema: pa.Schema, columns: Sequence[str], *, path: Path, made_by: str) -> None:
    """Refuse a file that lacks one of the columns, or where one holds something else than its name says.

    Raises:
        DataError: Names them.
    """
    again = f"Run: dvc repro -f {made_by}"
    if missing := [name for name in columns if name not in schema.names]:
        raise DataError(f"{path}: lacks {', '.join(missing)}; has {', '.join(schema.names)}. {again}")
    check_columns(schema, columns, path=path, remedy=again)


def parts_of_images(
    path: Path, columns: Sequence[str], *, rows: int, made_by: str, optional: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """A whole table in parts of at most so many rows; neighbours about one image are in one part, however many.

    Args:
        columns: With image_id.
    """
    held = pd.DataFrame()
    for batch in row_batches(path, columns, rows=rows, made_by=made_by, optional=optional):
        check_gaps(batch, path=path, remedy=f"Run: dvc repro -f {made_by}")
        held = pd.concat([held, batch], ignore_index=True) if len(held) else batch
        while len(held) > rows and (cut := _cut(held["image_id"].to_numpy(), rows)):
            yield held.iloc[:cut].reset_index(drop=True)
            held = held.iloc[cut:].reset_index(drop=True)
    if len(held):
        yield held


def _cut(image_ids: np.ndarray, rows: int) -> int:
    """Where another image begins: as late as `rows` allows, else as early as there is one; 0 where there is none."""
    begins = np.flatnonzero(image_ids[1:] != image_ids[:-1]) + 1
    within = begins[begins <= rows]
    return int(within[-1]) if len(within) else int(begins[0]) if len(begins) else 0


def count_rows(path: Path, *, made_by: str) -> int:
    """Number of rows of a Parquet file that the stage `made_by` wrote."""
    with whole_file(path, made_by):
        return pq.read_metadata(path).num_rows


def are_together(path: Path, *, made_by: str) -> bool:
    """Whether all rows about one image follow each other."""
    seen: set[Any] = set()
    last = None
    for batch in row_batches(path, ["image_id"], rows=ROWS_AT_ONCE, made_by=made_by):
        ids = batch["image_id"]
        runs = ids[ids.ne(ids.shift())].tolist()
        new = runs[1:] if runs[0] == last else runs
        if len(set(new)) < len(new) or not seen.isdisjoint(new):
            return False
        seen.update(new)
        last = runs[-1]
    return True


def join_tables(paths: Sequence[Path], out: Path) -> None:
    """One Parquet file of all rows, in order, a group of rows per file; where there is one file, that one as it is.

    Args:
        paths: Files with the same columns; one may lack values that tell a column's kind.
    """

    def write(temporary: Path) -> None:
        if len(paths) == 1:
            shutil.copyfile(paths[0], temporary)
            return
        schemas = [pq.read_schema(path) for path in paths]
        schema = pa.unify_schemas(schemas, promote_options="permissive").with_metadata(schemas[0].metadata)
        with pq.ParquetWriter(temporary, schema) as writer:
            for path in paths:
                writer.write_table(pq.read_table(path).cast(schema))

    write_atomically(out, write)


def write_parts(parts: Iterable[pd.DataFrame], out: Path) -> None:
    """One Parquet file of tables with the same columns that come one by one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        paths: list[Path] = []
        for number, table in enumerate(parts):
            paths.append(Path(folder) / f"{number:06d}.parquet")
            write_table(table, paths[-1])
        join_tables(paths, out)


def whole_file(path: Path, made_by: str) -> AbstractContextManager[None]:
    """Names the file, and how to make it, where it is missing or damaged."""
    missing = f"It is written by {made_by}; run: dvc repro {made_by}"
    return foreign_bytes(path, "a whole Parquet file", f"Run: dvc repro -f {made_by}", missing=missing)
