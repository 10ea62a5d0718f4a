"""From the ledger to the tables that every dataset has, row group by row group, in one order on every machine."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deixis.datasets.pairs.ledger import Ledger
from deixis.imaging.masks import area as mask_area

# Above the ids of COCO, Visual Genome and the embedded scenes: the leakage guard compares ids, and a corpus that shares
# numbers with a pretraining set would seem to share images with it. Within 32 bits, which some label tools keep.
FIRST_IMAGE_ID = 1_000_000_000
GROUP_ROWS = 10_000
REPEATING = ("split", "licence", "mode", "category", "file", "code")  # columns whose values are worth a dictionary

TEXT, INTEGER, REAL = pa.large_string(), pa.int64(), pa.float64()
RLE = pa.struct([("size", pa.list_(INTEGER)), ("counts", pa.string())])
PAIRS = pa.schema(
    [
        ("sample_id", TEXT), ("image_id", INTEGER), ("ref_id", INTEGER), ("sent_id", INTEGER), ("expression", TEXT),
        ("text", TEXT), ("split", TEXT),
    ]
)  # fmt: skip
TRUTH = pa.schema([("sample_id", TEXT), ("box", pa.list_(REAL)), ("mask", RLE), ("category", TEXT), ("area", REAL)])
IMAGES = pa.schema(
    [
        ("image_id", INTEGER), ("path", TEXT), ("sha256", TEXT), ("width", INTEGER), ("height", INTEGER),
        ("licence", TEXT), ("source", TEXT), ("mode", TEXT),
    ]
)  # fmt: skip
OBJECTS = pa.schema([("image_id", INTEGER), ("boxes", pa.list_(REAL)), ("categories", pa.list_(INTEGER))])
QUARANTINE = pa.schema([("file", TEXT), ("line", INTEGER), ("code", TEXT), ("value", TEXT)])

UNNAMED = "SELECT same FROM rows JOIN images ON image = key WHERE sample IS NULL AND x0 IS NOT NULL"
ORDERED = (
    "FROM rows JOIN images ON image = key WHERE NOT refused AND sample IS NOT NULL AND number IS NOT NULL "
    "ORDER BY number, grp IS NULL, grp, seq"
)


def write_quarantine(ledger: Ledger, path: Path) -> None:
    """Write what was refused or noted."""
    _write(
        path, QUARANTINE, ledger.select("SELECT file, line, code, value FROM remarks ORDER BY file, line, code, value")
    )


def write_tables(ledger: Ledger, folder: Path, *, licence: str) -> None:
    """Write pairs, truth, images and objects.

    `images.source` is the image's name in the corpus, or its checksum where it lay in a row; `ref_id` counts groups.
    """
    _write(folder / "pairs.parquet", PAIRS, _pairs(ledger))
    _write(folder / "truth.parquet", TRUTH, _truth(ledger))
    images = ledger.select(
        f"SELECT number + {FIRST_IMAGE_ID}, path, stored_sha256, width, height, ?, name, mode FROM images "
        "WHERE key = same AND number IS NOT NULL ORDER BY number",
        licence,
    )
    _write(folder / "images.parquet", IMAGES, images)
    _write(folder / "objects.parquet", OBJECTS, _objects(ledger))


def _pairs(ledger: Ledger) -> Iterator[tuple[Any, ...]]:
    ref_id, last = -1, None
    rows = ledger.select(f"SELECT number, grp, sample, expression, text, split {ORDERED}")
    for sent_id, (number, group, sample, expression, text, split) in enumerate(rows):
        if group is not None and (number, group) != last:
            ref_id, last = ref_id + 1, (number, group)
        yield sample, number + FIRST_IMAGE_ID, None if group is None else ref_id, sent_id, expression, text, split


def _truth(ledger: Ledger) -> Iterator[tuple[Any, ...]]:
    for sample, x0, y0, x1, y1, mask, category in ledger.select(
        f"SELECT sample, x0, y0, x1, y1, mask, category {ORDERED}"
    ):
        if x0 is not None:
            rle = json.loads(mask) if mask else None
            area = float(mask_area(rle)) if rle else (x1 - x0) * (y1 - y0)
            yield sample, [x0, y0, x1, y1], rle, category, area


def _objects(ledger: Ledger) -> Iterator[tuple[Any, ...]]:
    """Annotated boxes of each image, each once, largest first; no rows where only what phrases mean is annotated.

    Stages that must not see truth may read them. So an image's boxes are listed only where one of them is of an object
    that no phrase names.
    """
    if not ledger.one(f"SELECT COUNT(*) FROM ({UNNAMED})"):
        return
    rows = ledger.select(
        "SELECT DISTINCT number, x0, y0, x1, y1, category_id FROM images LEFT JOIN rows ON image = key "
        f"AND NOT refused AND same IN ({UNNAMED}) WHERE number IS NOT NULL "
        "ORDER BY number, (x1 - x0) * (y1 - y0) DESC, x0, y0, x1, y1, category_id"
    )
    for number, group in groupby(rows, key=lambda row: row[0]):
        boxed = [row for row in group if row[1] is not None]
        boxes = [value for row in boxed for value in row[1:5]]
        yield number + FIRST_IMAGE_ID, boxes, [row[5] for row in boxed]


def _write(path: Path, schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> None:
    stream = iter(rows)
    repeating: Any = [name for name in REPEATING if name in schema.names]  # its stubs know a bool only
    with pq.ParquetWriter(path, schema, use_dictionary=repeating) as writer:
        while part := list(islice(stream, GROUP_ROWS)):
            named = zip(zip(*part, strict=True), schema.types, strict=True)
            writer.write_batch(pa.record_batch([pa.array(values, kind) for values, kind in named], schema=schema))
            pa.default_memory_pool().release_unused()
