"""From the rows of any referring set to our tables: every row is checked here, adapters only translate.

Rows come in RefCOCO's own words (images, annotations, refs with sentences). Each bad one is named in the quarantine by
its code and takes no valid one with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.core.records import write_table
from deixis.datasets.images_by_id import SoundImage, check_images, index_images
from deixis.datasets.objects import read_objects
from deixis.datasets.published import PublishedSet, compare, count_rows
from deixis.datasets.quarantine import Quarantine
from deixis.datasets.ref_rows import (
    RefRow,
    TextField,
    index_annotations,
    is_usable,
    ref_problem,
    sound_sentences,
    split_of_each_image,
)
from deixis.datasets.tables import Tables, natural, write_tables
from deixis.datasets.targets import BoxConvention, ConventionCheck, Refusal, Target, read_target


@dataclass(frozen=True, config=STRICT)
class ReferringConfig:
    """Settings that every adapter of a referring set has."""

    adapter: str  # a name of deixis/datasets
    max_quarantined: float = 0.01  # share of bad rows that is still tolerated
    image_root: str | None = None  # folder of the pictures, from where the command runs; none: <raw>/images
    box: BoxConvention = "xywh"  # COCO's: width and height reach to the end of the last pixel
    shared_images: bool = False  # whether splits may share pictures, as google's do, which are split by object
    expect: PublishedSet | None = None  # the published set whose counts the files must have
    allow_other_counts: bool = False  # report other counts, and go on
    images_from: str | None = None  # the published set that the pictures are from, as check_leakage names them


@plain_dataclass(frozen=True)
class ReferringSource:
    """One dataset as an adapter translates it; no value is checked yet."""

    file: Path  # which holds images and annotations, as the quarantine names it
    images: list[Any]
    annotations: list[Any]
    categories: Mapping[Any, str]
    refs: list[RefRow]
    licences: Mapping[Any, str] = field(default_factory=dict)
    text_field: TextField = "raw"  # the field of a sentence that models read; `raw` is kept as it is
    lists_every_object: bool = True  # else there are no objects to write: those referred to would give truth away


def ingest_referring(source: ReferringSource, config: ReferringConfig, *, raw: Path, out: Path, dataset: str) -> None:
    """Check a source and write pairs, truth, images, objects and quarantine.

    Raises:
        DataError: If too many rows are bad, no pair is left, or the counts are not the published ones.
        ConfigError: If the box convention contradicts the masks.
    """
    shaped = [row.ref for row in source.refs if ref_problem(row.ref) is None]
    if config.expect is not None:
        found = count_rows((r["split"], str(r["image_id"]), str(r["ref_id"]), len(r["sentences"])) for r in shaped)
        compare(found, expect=config.expect, dataset=dataset, allow_other_counts=config.allow_other_counts)
    quarantine = Quarantine()
    try:
        tables = read_tables(source, config, raw=raw, dataset=dataset, quarantine=quarantine)
    finally:
        write_table(quarantine.table(), out / "quarantine.parquet")
    rows = sum(len(ref["sentences"]) for ref in shaped) + len({str(ref["image_id"]) for ref in shaped})
    quarantine.refuse_above(config.max_quarantined, of=rows, dataset=dataset)
    if not tables.pairs:
        raise DataError(
            f"{raw}: no usable pair of image and phrase. See {out}/quarantine.parquet, mend the files, "
            f"then run: dvc repro prepare@{dataset}"
        )
    write_tables(tables, out)


def read_tables(
    source: ReferringSource, config: ReferringConfig, *, raw: Path, dataset: str, quarantine: Quarantine
) -> Tables:
    """Check every image, ref and sentence; sort by image, ref and sentence, since file order differs per machine."""
    images = index_images(source.images, file=source.file, quarantine=quarantine)
    annotations = index_annotations(source.annotations, file=source.file, quarantine=quarantine)
    usable = [row for row in source.refs if is_usable(row, images, annotations, quarantine)]
    splits = None if config.shared_images else split_of_each_image(usable)
    root = raw / "images" if config.image_root is None else Path(config.image_root)
    wanted = {str(row.ref["image_id"]) for row in usable}
    sound = check_images(images, wanted, root=root, file=source.file, licences=source.licences, quarantine=quarantine)
    pairs, truth = [], {}
    seen: set[str] = set()
    texts: set[tuple[str, str]] = set()
    check = ConventionCheck()
    for row in usable:
        ref, image = row.ref, sound.get(str(row.ref["image_id"]))
        if image is None:
            continue  # the image's own refusal is already listed
        if splits is not None and splits[str(ref["image_id"])] != ref["split"]:
            quarantine.add(row.file, row.line, "E_SPLIT_OVERLAP", f"image {ref['image_id']} is of another split too")
            continue
        annotation = annotations[str(ref["ann_id"])]
        target = _target(annotation, image, row, config.box, check, quarantine)
        if target is None and ref["split"] != "train":
            continue  # it could not be scored; training needs no box
        category = source.categories.get(ref.get("category_id"), "?")
        for sentence, text in sound_sentences(row, source.text_field, quarantine):
            sample_id = f"{dataset}/{ref['ref_id']}/{sentence['sent_id']}"
            if sample_id in seen:
                quarantine.add(row.file, row.line, "E_ID_DUP", sample_id)
                continue
            if (str(ref["image_id"]), text) in texts:
                quarantine.add(row.file, row.line, "W_DUP_TEXT", f"image {ref['image_id']}: {text}")
            seen.add(sample_id)
            texts.add((str(ref["image_id"]), text))
            ids = (sample_id, image.image_id, ref["ref_id"], sentence["sent_id"])
            pairs.append((*ids, sentence["raw"], text, ref["split"]))
            if target is not None:
                truth[sample_id] = (sample_id, target.box, target.mask, category, target.area)
    check.hold(config.box, dataset=dataset)
    pairs.sort(key=lambda pair: [natural(value) for value in pair[1:4]])
    return Tables(
        pairs,
        [truth[pair[0]] for pair in pairs if pair[0] in truth],
        [_image_row(image, root, config) for image in sound.values()],
        read_objects(source.annotations, sound, config.box) if source.lists_every_object else [],
    )


def _target(
    annotation: dict[str, Any],
    image: SoundImage,
    row: RefRow,
    convention: BoxConvention,
    check: ConventionCheck,
    quarantine: Quarantine,
) -> Target | None:
    """Box and mask of a ref, or None when it cannot be scored."""
    try:
        target, odd = read_target(
            annotation, width=image.width, height=image.height, convention=convention, check=check
        )
    except Refusal as refusal:
        quarantine.add(row.file, row.line, refusal.code, refusal.value)
        return None
    for code, value in odd:
        quarantine.add(row.file, row.line, code, value)
    return target


def _image_row(image: SoundImage, root: Path, config: ReferringConfig) -> tuple[Any, ...]:
    """A row of images.parquet; later stages look under <raw>/images, so pictures elsewhere get their full path."""
    path = image.path if config.image_root is None else str(root.absolute() / image.path)
    return (image.image_id, path, image.sha256, image.width, image.height, image.licence)
