"""Parquet files read one group of rows after another, so that memory does not grow with their number."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_AT_ONCE = 8192
BYTES_AT_ONCE = 1 << 16  # of each column; else the whole of it in a group is read before its first value


def open_in_groups(path: Path) -> pq.ParquetFile:
    """A file for `batches_of`."""
    return pq.ParquetFile(path, buffer_size=BYTES_AT_ONCE)


def batches_of(file: pq.ParquetFile, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """At most so many rows at a time, of one group each, in order.

    Asked for all groups at once, the library holds something of each: 55 MB for a million labels in 123 groups, where
    one after another takes 2. Offsets and texts have been looked at, since a damaged page may hold any.
    """
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False):
            batch.validate(full=True)
            yield batch


def read_columns(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Some columns whole, one after another, so that what decoding takes is there for one of them at a time."""
    whole = {}
    for name in columns:
        chunks = [batch.column(0) for batch in batches_of(file, ROWS_AT_ONCE, [name])]
        whole[name] = pa.chunked_array(chunks, file.schema_arrow.field(name).type).combine_chunks()
        del chunks
        pa.default_memory_pool().release_unused()
    return pa.table(whole)
