"""Rows of Parquet files and of Hugging Face datasets saved to disk, a few at a time.

Images may be paths, bytes, or structs of both. Arrow files are read as plain data: no extension type is resolved, no
loading script is run.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.datasets.arrow_rows import UnreadableRow, plain_rows
from deixis.datasets.pairs.rows import Remark, RowOrRemark, check_columns, make_row
from deixis.datasets.pairs.settings import Fields, Format, PairsConfig
from deixis.imaging.places import is_allowed

READ_BYTES = 8 << 20  # of a row group at a time
MAX_ROWS = 2048
RESTORE = "Restore it"


def read_parquet(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """Rows of one Parquet file; memory is bounded by a few rows, not by its row groups."""
    reading = foreign_bytes(path, "a whole Parquet file", RESTORE)
    with reading, pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as opened:
        columns = _wanted(opened.schema_arrow.names, config.fields, path)
        per_row = _row_bytes(opened.metadata)
        batches = opened.iter_batches(
            batch_size=max(1, min(MAX_ROWS, READ_BYTES // per_row)), columns=columns, use_threads=False
        )
        yield from _rows(batches, file, config.fields)


def read_hf(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """Rows of a folder that `save_to_disk` wrote: one set, or a folder for each split.

    Layout: `dataset_dict.json` names the splits; each split has `state.json`, which names its Arrow stream files.
    """
    prefix = "" if file == "." else f"{file}/"
    if (path / "dataset_dict.json").exists():
        for split in _splits(path):
            yield from _read_set(path / split, f"{prefix}{split}", config, split=split)
    else:
        yield from _read_set(path, prefix.rstrip("/"), config, split=None)


def _read_set(folder: Path, prefix: str, config: PairsConfig, *, split: str | None) -> Iterator[RowOrRemark]:
    state = _facts(folder / "state.json")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(f"{folder}: rows are chosen by an index file. Call flatten_indices() and save_to_disk() again")
    for entry in _data_files(state, folder):
        path = folder / str(entry["filename"])
        if not is_allowed(path, (folder.resolve(),)):
            raise DataError(f"{folder}/state.json: names {path}, outside its folder. Save it again")
        name = f"{prefix}/{entry['filename']}".lstrip("/")
        with _opened_stream(path) as reader:
            columns = _wanted(reader.schema.names, config.fields, path)
            yield from _rows((_checked(batch, columns) for batch in reader), name, config.fields, split)


@contextmanager
def _opened_stream(path: Path) -> Iterator[pa.RecordBatchStreamReader]:
    with (
        foreign_bytes(path, "a whole Arrow stream", RESTORE),
        pa.OSFile(str(path), "rb") as stream,
        pa.ipc.open_stream(stream) as reader,
    ):
        yield reader


def _splits(path: Path) -> list[str]:
    splits = _facts(path / "dataset_dict.json").get("splits")
    inside = (path.resolve(),)
    if not isinstance(splits, list) or not all(
        isinstance(name, str) and is_allowed(path / name, inside) for name in splits
    ):
        raise DataError(
            f"{path}/dataset_dict.json: splits is {str(splits)[:80]!r}; allowed: a list of names of folders beside it. "
            "Save the dataset again with save_to_disk()"
        )
    return sorted(splits)


def _data_files(state: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    files = state.get("_data_files") or []
    if not isinstance(files, list) or not all(isinstance(entry, dict) and "filename" in entry for entry in files):
        raise DataError(
            f"{folder}/state.json: _data_files is {str(files)[:80]!r}; allowed: a list of objects with filename. Save "
            "the dataset again with save_to_disk()"
        )
    return files


def column_names(path: Path, kind: Format) -> list[str]:
    """Names of the columns of a Parquet file, or of the first part of a saved dataset."""
    if kind == "parquet":
        with foreign_bytes(path, "a whole Parquet file", RESTORE):
            return list(pq.read_schema(path).names)
    with foreign_bytes(path, "a dataset with a file", RESTORE):
        if (path / "dataset_dict.json").exists():
            path = path / _splits(path)[0]
        first = path / str(_data_files(_facts(path / "state.json"), path)[0]["filename"])
    with _opened_stream(first) as reader:
        return list(reader.schema.names)


def _facts(path: Path) -> dict[str, Any]:
    with foreign_bytes(path, "one object of JSON", RESTORE):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise TypeError(f"a {type(facts).__name__}")
        return facts


def _checked(batch: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
    """The wanted columns, after a look at offsets that point out of the file."""
    chosen = batch.select(columns)
    chosen.validate(full=True)
    return chosen


def _wanted(columns: list[str], fields: Fields, path: Path) -> list[str]:
    check_columns(columns, fields, file=str(path))
    return [name for name in dict.fromkeys(vars(fields).values()) if name in columns]


def _row_bytes(metadata: pq.FileMetaData) -> int:
    """Mean size of a row, uncompressed, in the group where it is largest; at least one byte."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return max([1, *(group.total_byte_size // max(group.num_rows, 1) for group in groups)])


def _rows(
    batches: Iterable[pa.RecordBatch], file: str, fields: Fields, split: str | None = None
) -> Iterator[RowOrRemark]:
    """Rows of batches, with the split of their folder where they have none of their own."""
    line = 0
    for batch in batches:
        step = max(1, min(MAX_ROWS, READ_BYTES * batch.num_rows // max(batch.nbytes, 1)))
        for start in range(0, batch.num_rows, step):
            for values in plain_rows(batch.slice(start, step)):
                if isinstance(values, UnreadableRow):
                    yield Remark(file, line, values.code, values)
                else:
                    if split is not None and fields.split not in values:
                        values[fields.split] = split
                    yield make_row(file, line, values, fields)
                line += 1
