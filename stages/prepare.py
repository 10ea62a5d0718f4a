"""Read one raw dataset, keep what is sound, and write our tables: the only reader of foreign formats.

reads   data/raw/<dataset>; params: datasets.<dataset>
writes  pairs.parquet, truth.parquet, images.parquet, quarantine.parquet; objects.parquet: every annotated box of every
        image, whether a phrase refers to it or not
run     dvc repro prepare@scenes
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.errors import DataError
from deixis.core.progress import track
from deixis.core.records import file_sha256, write_table
from deixis.core.registry import resolve
from deixis.datasets import DATASETS
from deixis.datasets.refer import ReferFolder
from deixis.imaging.masks import area, polygons_to_rle
from deixis.imaging.pictures import open_image
from deixis.quarantine import Quarantine
from deixis.text import normalise

PAIR_COLUMNS = ("sample_id", "image_id", "ref_id", "sent_id", "expression", "text", "split")
TRUTH_COLUMNS = ("sample_id", "box", "mask", "category", "area")
OBJECT_COLUMNS = ("image_id", "boxes", "categories")
IMAGE_COLUMNS = ("image_id", "path", "sha256", "width", "height", "licence")


@dataclass(frozen=True, config=STRICT)
class DatasetParams:
    """One entry of `datasets`."""

    adapter: str  # a name of deixis/datasets
    split_by: str = "unc"  # whose splits, where a dataset has several
    max_quarantined: float = 0.01  # share of bad rows that is still tolerated
    images_from: str | None = None  # published set that the pictures are from, as check_leakage names them


@dataclasses.dataclass(frozen=True)
class Tables:
    """The rows of the four tables of a dataset."""

    pairs: list[tuple[Any, ...]]
    truth: list[tuple[Any, ...]]
    images: list[tuple[Any, ...]]
    objects: list[tuple[Any, ...]]


def prepare(*, dataset: str, raw: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    """Read one raw dataset and write pairs, truth, images, objects and quarantine."""
    config = read_section(params, f"datasets.{dataset}", DatasetParams)
    read = resolve(DATASETS, config.adapter, role="dataset adapter")
    folder = read(raw, split_by=config.split_by)
    quarantine = Quarantine()
    tables = read_tables(folder, dataset=dataset, quarantine=quarantine)
    write_table(quarantine.table(), out / "quarantine.parquet")
    refs = [ref for ref in folder.refs if _is_ref(ref)]
    rows = sum(len(ref["sentences"]) for ref in refs) + len({ref["image_id"] for ref in refs})
    quarantine.refuse_above(config.max_quarantined, of=rows, dataset=dataset)
    if not tables.pairs:
        raise DataError(
            f"{raw}: no usable pair of image and phrase. See {out}/quarantine.parquet, mend the files, "
            f"then run: dvc repro prepare@{dataset}"
        )
    write_table(pd.DataFrame(tables.images, columns=list(IMAGE_COLUMNS)), out / "images.parquet")
    write_table(pd.DataFrame(tables.objects, columns=list(OBJECT_COLUMNS)), out / "objects.parquet")
    write_table(pd.DataFrame(tables.truth, columns=list(TRUTH_COLUMNS)), out / "truth.parquet")
    write_table(pd.DataFrame(tables.pairs, columns=list(PAIR_COLUMNS)), out / "pairs.parquet")


def read_tables(folder: ReferFolder, *, dataset: str, quarantine: Quarantine) -> Tables:
    """Check every image, ref and sentence; sort by image, ref and sentence, since file order differs per machine."""
    annotations = {row["id"]: row for row in folder.instances["annotations"]}
    categories = {row["id"]: row["name"] for row in folder.instances["categories"]}
    licences = {row["id"]: row["name"] for row in folder.instances.get("licenses", [])}
    images = {row["id"]: row for row in folder.instances["images"]}
    wanted = {ref["image_id"] for ref in folder.refs if _is_ref(ref)}
    sound = _check_images(images, wanted, folder.image_root, licences, quarantine)

    pairs, truth = [], []
    seen: set[str] = set()
    splits: dict[int, str] = {}
    for line, ref in enumerate(folder.refs):
        if not _is_ref(ref) or ref["image_id"] not in images or ref["ann_id"] not in annotations:
            quarantine.add(folder.refs_path, line, "E_REF_BROKEN", ref)
            continue
        if ref["image_id"] not in sound:
            continue  # the image's own refusal is already listed
        if splits.setdefault(ref["image_id"], ref["split"]) != ref["split"]:
            quarantine.add(folder.refs_path, line, "E_SPLIT_OVERLAP", f"{ref['image_id']} {ref['split']}")
            continue
        if annotations[ref["ann_id"]]["image_id"] != ref["image_id"]:
            quarantine.add(folder.refs_path, line, "E_REF_BROKEN", f"annotation {ref['ann_id']} is of another image")
            continue
        target = _read_target(annotations[ref["ann_id"]], sound[ref["image_id"]], folder, line, quarantine)
        if target is None and ref["split"] != "train":
            continue  # it could not be scored; training needs no box
        for sentence in ref["sentences"]:
            sample_id = f"{dataset}/{ref['ref_id']}/{sentence['sent_id']}"
            text = normalise(sentence["raw"])
            if not text:
                quarantine.add(folder.refs_path, line, "E_TEXT_EMPTY", repr(sentence["raw"]))
            elif sample_id in seen:
                quarantine.add(folder.refs_path, line, "E_ID_DUP", sample_id)
            else:
                seen.add(sample_id)
                ids = (sample_id, ref["image_id"], ref["ref_id"], sentence["sent_id"])
                pairs.append((*ids, sentence["raw"], text, ref["split"]))
                if target is not None:
                    truth.append((sample_id, *target[:2], categories.get(ref["category_id"], "?"), target[2]))
    order = sorted(range(len(pairs)), key=lambda row: [_natural(value) for value in pairs[row][1:4]])
    kept = [pairs[row] for row in order]
    by_sample = {row[0]: row for row in truth}
    scored = [by_sample[row[0]] for row in kept if row[0] in by_sample]
    return Tables(kept, scored, list(sound.values()), _read_objects(folder.instances["annotations"], sound))


def _is_ref(ref: Any) -> bool:
    """Whether a row has everything a ref needs, of the right kinds."""
    if not isinstance(ref, dict) or not isinstance(ref.get("sentences"), list):
        return False
    ids = all(isinstance(ref.get(name), int | str) for name in ("ref_id", "ann_id", "image_id", "category_id", "split"))
    return ids and all(
        isinstance(sentence, dict)
        and isinstance(sentence.get("sent_id"), int | str)
        and isinstance(sentence.get("raw"), str)
        for sentence in ref["sentences"]
    )


def _check_images(
    images: dict[int, dict[str, Any]], wanted: set[int], root: Path, licences: dict[int, str], quarantine: Quarantine
) -> dict[int, tuple[Any, ...]]:
    """Decode every image that a ref needs; rows of images.parquet by image id."""
    sound = {}
    inside = root.resolve()
    for image_id in track(sorted(wanted & images.keys()), "checking images", total=len(wanted)):
        row = images[image_id]
        path = (root / row["file_name"]).resolve()
        if not path.is_relative_to(inside):
            quarantine.add("instances.json", image_id, "E_IMG_PATH", row["file_name"])
            continue
        if not path.exists():
            quarantine.add("instances.json", image_id, "E_IMG_MISSING", row["file_name"])
            continue
        try:
            size = open_image(path).size
        except DataError as error:
            quarantine.add("instances.json", image_id, "E_IMG_TRUNC", error)
            continue
        if size != (row["width"], row["height"]):
            quarantine.add("instances.json", image_id, "E_IMG_SIZE", f"{size} for {row['width']}, {row['height']}")
            continue
        licence = licences.get(row.get("license", -1), "unknown")
        sound[image_id] = (image_id, row["file_name"], file_sha256(path), *size, licence)
    return sound


def _read_target(
    annotation: dict[str, Any], image: tuple[Any, ...], folder: ReferFolder, line: int, quarantine: Quarantine
) -> tuple[list[float], dict[str, Any], float] | None:
    """Box xyxy, mask RLE and area of an annotation, or None when it cannot be scored."""
    try:
        left, top, width, height = (float(value) for value in annotation["bbox"])
        rle = polygons_to_rle(annotation["segmentation"], height=image[4], width=image[3])
    except (TypeError, ValueError, KeyError) as error:
        quarantine.add(folder.refs_path, line, "E_REF_BROKEN", f"annotation {annotation.get('id')}: {error}")
        return None
    right, bottom = left + width, top + height
    remains = min(right, image[3]) > max(left, 0) and min(bottom, image[4]) > max(top, 0)
    if not (np.isfinite([left, top, width, height]).all() and width > 0 and height > 0 and remains):
        quarantine.add(folder.refs_path, line, "E_BOX_DEGENERATE", annotation["bbox"])
        return None
    if left < 0 or top < 0 or right > image[3] or bottom > image[4]:
        quarantine.add(folder.refs_path, line, "W_BOX_OUTSIDE", annotation["bbox"])
    if not area(rle):
        quarantine.add(folder.refs_path, line, "E_MASK_EMPTY", annotation["id"])
        return None
    return [left, top, right, bottom], rle, float(area(rle))


def _read_objects(annotations: list[Any], sound: dict[int, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Corners and category of every annotated object, for each image.

    Largest first, so that the order cannot tell which objects phrases refer to; without those whose box is no box.
    """
    found: dict[int, list[tuple[float, list[float], int]]] = {image_id: [] for image_id in sound}
    for annotation in annotations:
        try:
            left, top, width, height = (float(value) for value in annotation["bbox"])
            category = int(annotation["category_id"])
        except (TypeError, ValueError, KeyError):
            continue
        if annotation.get("image_id") in found and np.isfinite([left, top, width, height]).all():
            if width > 0 and height > 0:
                box = [left, top, left + width, top + height]
                found[annotation["image_id"]].append((-width * height, box, category))
    rows = []
    for image_id, things in found.items():
        things.sort()
        rows.append((image_id, [value for _, box, _ in things for value in box], [kind for *_, kind in things]))
    return rows


def _natural(value: int | str) -> tuple[bool, int, str]:
    """Sort key under which numbers come before text and both keep their order."""
    return (True, 0, value) if isinstance(value, str) else (False, value, "")


if __name__ == "__main__":
    run_stage(prepare)
