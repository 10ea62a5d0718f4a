"""Rows of a labels table, image by image, in memory that does not grow with their number.

Only one number per row is held: the place of its image in images.parquet.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deixis.core.columns import check_columns
from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.row_groups import batches_of, open_in_groups

ROWS_AT_ONCE = 1024
ROWS_PER_BUCKET = 65536  # where rows of one image are scattered over the table
COLUMNS = (
    "sample_id", "image_id", "expression", "split", "box", "score", "accept", "reason", "mask", "teacher",
    "checkpoint_sha256", "config_sha256",
)  # fmt: skip
NEVER_NULL = tuple(name for name in COLUMNS if name not in ("box", "score", "mask"))
OPTIONAL = ("margin", "mask_source", "human")
MADE_BY = "segment_boxes"
ALLOWED = (
    "Allowed: labels.parquet of a folder that `deixis label` wrote, or data/labels/<dataset>/<teacher>/labels.parquet "
    f"(dvc repro {MADE_BY}). Name one"
)
AGAIN = f"Delete it and make it again with: dvc repro {MADE_BY}, or deixis label"


class LabelRows:
    """The rows of labels.parquet.

    Args:
        image_ids: The images that the rows may name, each once.
        images: Where they come from, for messages.
    """

    def __init__(self, labels: Path, image_ids: pd.Index, *, images: Path) -> None:
        self._path, self._file = labels, open_labels(labels)
        self._known = len(image_ids)
        self._places = self._places_of_rows(image_ids, labels, images)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._places)

    @property
    def image_count(self) -> int:
        """Number of images that the rows name."""
        is_named = np.zeros(self._known, bool)
        is_named[self._places] = True
        return int(is_named.sum())

    def by_image(self) -> Iterator[dict[str, Any]]:
        """Every row once, with the `place` of its image; rows of one image follow each other."""
        changes = np.count_nonzero(self._places[1:] != self._places[:-1])
        if not len(self._places) or changes + 1 == self.image_count:
            for batch in self._batches():
                yield from batch.to_pylist()
        else:
            yield from self._sorted()

    def _places_of_rows(self, image_ids: pd.Index, labels: Path, images: Path) -> np.ndarray:
        of_rows, filled = np.zeros(self._file.metadata.num_rows, np.int32), 0
        for batch in self._whole_batches(ROWS_PER_BUCKET, ["image_id"]):
            with foreign_bytes(labels, "a table of labels", AGAIN):
                ids = pd.Index(batch.column(0).to_pandas())
            places = image_ids.get_indexer(ids)
            if (places < 0).any():
                missing = ids[places < 0][0]
                raise DataError(
                    f"{labels}: image {missing} is not in {images}. "
                    "Name the images.parquet that the labels were made with: --images"
                )
            of_rows[filled : filled + len(places)] = places
            filled += len(places)
        return of_rows

    def _batches(self) -> Iterator[pa.RecordBatch]:
        columns = [*COLUMNS, *(column for column in OPTIONAL if column in self._file.schema_arrow.names)]
        start = 0
        for batch in self._whole_batches(ROWS_AT_ONCE, columns):
            for name in NEVER_NULL:
                if batch.column(name).null_count:
                    line = start + batch.column(name).is_null().to_pylist().index(True)
                    raise DataError(f"{self._path}: row {line} has no {name}. {AGAIN}")
            yield batch.append_column("place", pa.array(self._places[start : start + len(batch)]))
            start += len(batch)

    def _whole_batches(self, rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        with foreign_bytes(self._path, "a whole Parquet file", AGAIN):
            yield from batches_of(self._file, rows, columns)

    def _sorted(self) -> Iterator[dict[str, Any]]:
        """Rows are first spread over files that hold some images each, then sorted file by file."""
        buckets = -(-len(self._places) // ROWS_PER_BUCKET)
        size = -(-self._known // buckets)  # images of a bucket
        with tempfile.TemporaryDirectory(prefix="deixis-export-") as folder:
            files = {bucket: Path(folder) / f"{bucket}.arrow" for bucket in np.unique(self._places // size).tolist()}
            with ExitStack() as stack:
                writers: dict[int, Any] = {}
                for batch in self._batches():
                    of_bucket = batch.column("place").to_numpy() // size
                    for bucket in np.unique(of_bucket).tolist():
                        if bucket not in writers:
                            sink = stack.enter_context(pa.OSFile(str(files[bucket]), "wb"))
                            writers[bucket] = stack.enter_context(pa.ipc.new_stream(sink, batch.schema))
                        writers[bucket].write_batch(batch.filter(pa.array(of_bucket == bucket)))
            for path in files.values():
                with pa.OSFile(str(path)) as source:
                    table = pa.ipc.open_stream(source).read_all()
                order = np.argsort(table.column("place").to_numpy(), kind="stable")
                for start in range(0, len(order), ROWS_AT_ONCE):
                    yield from table.take(pa.array(order[start : start + ROWS_AT_ONCE])).to_pylist()


def open_labels(path: Path) -> pq.ParquetFile:
    """The file of labels, once its columns are what their names say.

    Raises:
        DataError: If it is missing, cut short, or another table.
    """
    with foreign_bytes(path, "a whole Parquet file", AGAIN, missing=ALLOWED):
        file = open_in_groups(path)
        names = file.schema_arrow.names
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}; has {', '.join(names)}. {ALLOWED}")
    wanted = [*COLUMNS, *(column for column in OPTIONAL if column in names)]
    check_columns(file.schema_arrow, wanted, path=path, remedy=AGAIN)
    return file
