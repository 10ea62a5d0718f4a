"""Train one variant of a teacher once per seed, let it answer, and score its answers to val.

reads   pairs.parquet, images.parquet, feature stores, masks of boxes, the images, the segmenter; then truth.parquet;
        params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the scores of val (`0.parquet`) and the labels for students (`labels-0.parquet`)
run     dvc repro claims/dvc.yaml:measure_teacher@refclip
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from claims.entries import Plan, Teacher, params_of, score_file
from claims.runs import SPLIT, score, write_pairs, write_params
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_json, write_table
from deixis.core.runtime import Device
from stages.segment_boxes import segment_boxes
from stages.train_teacher import train_teacher
from stages.write_pseudo_labels import write_pseudo_labels


def measure_teacher(
    *,
    variant: str,
    prepared: Path,
    features: Path,
    box_masks: Path,
    image_root: Path,
    segmenter: Path,
    candidates: Path,
    leakage: Path,
    out: Path,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one variant of a teacher once per seed, and score it."""
    entry = read_section(claims, f"teachers.{variant}", Teacher)
    shared = read_section(plan, "measure", Plan)
    for seed in shared.seeds:
        with TemporaryDirectory() as name:
            folder = Path(name)
            settings = write_params(params_of(params, shared, entry.overrides, seed=seed), folder / "params.yaml")
            stores = link_stores(features, box_masks, folder / "features")
            pairs = write_pairs(prepared, folder, splits=("train", SPLIT))
            images, teacher = prepared / "images.parquet", folder / "teacher"
            train_teacher(
                teacher=entry.method,
                pairs=pairs,
                features=stores,
                out=teacher,
                curves=folder / "curves.csv",
                params=settings,
                device=device,
            )
            write_pseudo_labels(
                pairs=pairs,
                images=images,
                features=stores,
                teacher=teacher,
                out=folder / "boxes",
                params=settings,
                device=device,
            )
            answers = add_masks(
                folder / "boxes" / "boxes.parquet",
                images=images,
                image_root=image_root,
                segmenter=segmenter,
                teacher=teacher,
                labels=out / f"labels-{seed}.parquet",
                device=device,
            )
            score(
                answers,
                teacher / "config.json",
                prepared=prepared,
                candidates=candidates,
                leakage=leakage,
                params=settings,
                folder=folder / "scoring",
                out=out / score_file(seed),
            )


def link_stores(features: Path, box_masks: Path, folder: Path) -> Path:
    """One folder with the dataset's feature stores and the masks of its boxes, as teachers expect it."""
    folder.mkdir()
    for store in (*features.iterdir(), box_masks):
        link = folder / ("box_masks" if store == box_masks else store.name)
        if not link.exists():
            link.symlink_to(store.resolve(), target_is_directory=True)
    return folder


def add_masks(
    boxes: Path, *, images: Path, image_root: Path, segmenter: Path, teacher: Path, labels: Path, device: Device
) -> Path:
    """Write the labels of all pairs without masks, and the answers to val, with masks if the teacher draws some.

    Returns:
        Where the answers to val are.
    """
    table = pd.read_parquet(boxes)
    card = read_json(teacher / "config.json", made_by="train_teacher")
    whole = table.drop(columns="own_mask", errors="ignore").assign(mask=None, teacher=card["teacher"])
    write_table(whole[["sample_id", "box", "mask", "score", "accept", "teacher"]], labels)
    if "own_mask" not in table:
        return labels
    answered = boxes.with_name("answered.parquet")
    write_table(table[table["split"] == SPLIT].reset_index(drop=True), answered)
    segmented = boxes.with_name("segmented.parquet")
    segment_boxes(
        boxes=answered,
        images=images,
        image_root=image_root,
        segmenter=segmenter,
        teacher=teacher,
        out=segmented,
        device=device,
    )
    return segmented


if __name__ == "__main__":
    run_stage(measure_teacher)
