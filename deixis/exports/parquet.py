"""Parquet: one row per label with everything that is known of it, in full precision, for loaders of data sets."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deixis.exports.types import ExportedImage, Label, LabelledImage, Options
from deixis.imaging.masks import area
from deixis.language.text import normalise

ROWS_AT_ONCE = 1024  # as Python's objects
ROWS_PER_GROUP = 16384  # every group adds to what the file, its writer and all readers hold
RECORD_VERSION = "1"
CONVENTIONS = {
    "bbox_xyxy": "pixels of the stored image, exclusive right and bottom, as the teacher gave them",
    "mask_rle": "COCO run-length code: column by column, size is height, width, counts are text",
    "orientation": "stored pixels; EXIF orientation is not applied",
    "score": "the teacher's own scale, higher is better",
    "record_version": RECORD_VERSION,
}
MASK = pa.struct({"size": pa.list_(pa.int64()), "counts": pa.string()})


def write(images: Iterable[LabelledImage], folder: Path, options: Options) -> None:
    """Write `labels.parquet`; what a column means is in the file's own metadata."""
    schema = _schema(per_object=options.per_object)
    with pq.ParquetWriter(folder / "labels.parquet", schema) as writer:
        records, group = _records(images, per_object=options.per_object), []
        while rows := list(islice(records, ROWS_AT_ONCE)):
            group.append(pa.Table.from_pylist(rows, schema))
            if len(group) * ROWS_AT_ONCE == ROWS_PER_GROUP:
                writer.write_table(pa.concat_tables(group))
                group.clear()
        writer.write_table(pa.concat_tables([*group, schema.empty_table()]))


def _schema(*, per_object: bool) -> pa.Schema:
    text = pa.list_(pa.string()) if per_object else pa.string()
    names = ("sample_ids", "expressions", "texts") if per_object else ("sample_id", "expression", "text")
    fields = {
        **dict.fromkeys(names, text),
        "group_id": pa.string(),
        "image_id": pa.string(),
        "image_path": pa.string(),
        "image_sha256": pa.string(),
        "licence": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "split": pa.string(),
        "bbox_xyxy": pa.list_(pa.float64(), 4),
        "mask_rle": MASK,
        "mask_area": pa.int64(),
        "mask_source": pa.string(),
        "score": pa.float64(),
        "runner_up_score": pa.float64(),
        "accept": pa.bool_(),
        "reason": pa.string(),
        "human": pa.string(),
        "teacher": pa.string(),
        "checkpoint_sha256": pa.string(),
        "config_sha256": pa.string(),
    }
    return pa.schema(fields, metadata=CONVENTIONS)


def _records(images: Iterable[LabelledImage], *, per_object: bool) -> Iterator[dict[str, Any]]:
    for labelled in images:
        yield from (_record(labelled.image, label, per_object=per_object) for label in labelled.labels)


def _record(image: ExportedImage, label: Label, *, per_object: bool) -> dict[str, Any]:
    texts = [normalise(expression) for expression in label.expressions]
    phrases: dict[str, Any] = {"sample_id": label.sample_ids[0], "expression": label.expressions[0], "text": texts[0]}
    if per_object:
        phrases = {"sample_ids": label.sample_ids, "expressions": label.expressions, "texts": texts}
    return phrases | {
        "group_id": label.group_id,
        "image_id": str(image.image_id),
        "image_path": image.path,
        "image_sha256": image.sha256,
        "licence": image.licence,
        "width": image.width,
        "height": image.height,
        "split": label.split,
        "bbox_xyxy": label.raw_box_xyxy,
        "mask_rle": label.mask,
        "mask_area": None if label.mask is None else area(label.mask),
        "mask_source": label.mask_source,
        "score": label.score,
        "runner_up_score": None if label.margin is None else label.score - label.margin,
        "accept": label.accept,
        "reason": label.reason,
        "human": label.human,
        "teacher": label.teacher,
        "checkpoint_sha256": label.checkpoint_sha256,
        "config_sha256": label.config_sha256,
    }
