"""From the rows of any referring set to our tables: every row is checked here, adapters only translate.

Rows come in RefCOCO's own words (images, annotations, refs with sentences). Each bad one is named in the quarantine by
its code and takes no valid one with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT, Share
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
    max_quarantined: Share = 0.01  # share of bad rows that is still tolerated
    image_root: str | None = None  # folder of the images, from where the command runs; none: <raw>/images
    box: BoxConvention = "xywh"  # COCO's: width and height reach to the end of the last pixel
    shared_images: bool = False  # whether splits may share images, as google's do, which are split by object
    expect: PublishedSet | None = None  # the published set whose counts the files must have
    allow_other_counts: bool = False  # report other counts, and go on
    images_from: str | None = None  # the published set that the images are from, as check_leakage names them


@plain_dataclass(frozen=True)
class ReferringSource:
    """One dataset as an adapter translates it; no value is checked yet."""

    file: Path  # which holds images and annotations, as the quarantine names it
    images: list[Any]
    annotations: list[Any]
    categories: Mapping[str, str]
    refs: list[RefRow]
    licences: Mapping[str, str] = field(default_factory=dict)
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
        counts = count_rows((r["split"], str(r["image_id"]), str(r["ref_id"]), len(r["sentences"])) for r in shaped)
        compare(counts, expect=config.expect, dataset=dataset, allow_other_counts=config.allow_other_counts)
    quarantine = Quarantine()
    try:
        tables = read_tables(source, config, raw=raw, dataset=dataset, quarantine=quarantine)
    finally:
        write_table(quarantine.table(), out / "quarantine.parquet")
    rows = sum(len(ref["sentences"]) for ref in shaped) + len({str(ref["image_id"]) for ref in shaped})
    rows += len(source.refs) - len(shaped)
    quarantine.refuse_above(config.max_quarantined, of=rows, dataset=dataset)
    if not tables.pairs:
        raise DataError(
            f"{raw}: no usable pair of image and phrase. See {out}/quarantine.parquet, fix the files, "
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
    root = raw / "images" if config.image_root is None else Path(config.image_root)
    needed = {str(row.ref["image_id"]) for row in usable}
    sound = check_images(images, needed, root=root, file=source.file, licences=source.licences, quarantine=quarantine)
    reader = _PairReader(source, dataset, quarantine)
    check = ConventionCheck()
    for row in _rows_in_their_split(usable, sound, config, quarantine):
        image = sound[str(row.ref["image_id"])]
        target = _target(annotations[str(row.ref["ann_id"])], image, row, config.box, check, quarantine)
        if target is not None or row.ref["split"] == "train":  # training needs no box; others could not be scored
            reader.read(row, image, target)
    check.hold(config.box, dataset=dataset)
    return reader.tables(
        [_image_row(image, root, config) for image in sound.values()],
        read_objects(source.annotations, sound, config.box) if source.lists_every_object else [],
    )


def _rows_in_their_split(
    usable: list[RefRow], sound: Mapping[str, SoundImage], config: ReferringConfig, quarantine: Quarantine
) -> Iterator[RefRow]:
    """Refs of sound images; those of an image that another split has, too, are quarantined where that is no habit."""
    splits = None if config.shared_images else split_of_each_image(usable)
    for row in usable:
        image_id = str(row.ref["image_id"])
        if image_id not in sound:
            continue  # the image's own refusal is already listed
        if splits is not None and splits[image_id] != row.ref["split"]:
            remark = f"image {row.ref['image_id']} is of another split too"
            quarantine.add(row.file, row.line, "E_SPLIT_OVERLAP", remark)
            continue
        yield row


class _PairReader:
    """Pairs and truth of refs, sentence by sentence; doubled ids and texts are noted."""

    def __init__(self, source: ReferringSource, dataset: str, quarantine: Quarantine) -> None:
        self._source, self._dataset, self._quarantine = source, dataset, quarantine
        self._pairs: dict[str, tuple[Any, ...]] = {}
        self._truth: dict[str, tuple[Any, ...]] = {}
        self._texts: set[tuple[str, str]] = set()

    def read(self, row: RefRow, image: SoundImage, target: Target | None) -> None:
        """Take the sound sentences of a ref."""
        ref = row.ref
        category = self._source.categories.get(str(ref["category_id"]), "?")
        for sentence, text in sound_sentences(row, self._source.text_field, self._quarantine):
            sample_id = f"{self._dataset}/{ref['ref_id']}/{sentence['sent_id']}"
            if sample_id in self._pairs:
                self._quarantine.add(row.file, row.line, "E_ID_DUP", sample_id)
                continue
            self._note_doubled(row, text)
            ids = (sample_id, image.image_id, ref["ref_id"], sentence["sent_id"])
            self._pairs[sample_id] = (*ids, sentence["raw"], text, ref["split"])
            if target is not None:
                self._truth[sample_id] = (sample_id, target.box, target.mask, category, target.area)

    def _note_doubled(self, row: RefRow, text: str) -> None:
        image_id = row.ref["image_id"]
        if (str(image_id), text) in self._texts:
            self._quarantine.add(row.file, row.line, "W_DUP_TEXT", f"image {image_id}: {text}")
        self._texts.add((str(image_id), text))

    def tables(self, images: list[Any], objects: list[Any]) -> Tables:
        """All tables; pairs and truth by image, ref and sentence."""
        pairs = sorted(self._pairs.values(), key=lambda pair: [natural(value) for value in pair[1:4]])
        truth = [self._truth[pair[0]] for pair in pairs if pair[0] in self._truth]
        return Tables(pairs, truth, images, objects)


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
    """A row of images.parquet; later stages look under <raw>/images, so images elsewhere get their full path."""
    path = image.path if config.image_root is None else str(root.absolute() / image.path)
    return (image.image_id, path, image.sha256, image.width, image.height, image.licence)
