"""Train one variant of a teacher once per seed, and let it answer, and label train where it teaches; no truth.

reads   pairs.parquet, images.parquet, feature stores, the detector's of all scales, masks of boxes, the images, the
        segmenter;
        params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the teacher, its answers (`answers-0.parquet`), and labels for its students
        (`labels-0.parquet`)
run     dvc repro claims/dvc.yaml:run_teacher@refclip
"""

from pathlib import Path

import pandas as pd

from claims.entries import Teacher
from claims.inputs import link_folders
from claims.runs import RunOptions, SeedRun, each_seed
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_json, write_table
from deixis.core.runtime import Device
from stages.segment_boxes import segment_boxes
from stages.train_teacher import train_teacher
from stages.write_pseudo_labels import write_pseudo_labels


def run_teacher(
    *,
    variant: str,
    files: RunOptions,
    features: Path,
    detector: Path,
    box_masks: Path,
    segmenter: Path,
    device: Device = "auto",
) -> None:
    """Train one variant of a teacher once per seed, and let it answer."""
    entry = read_section(files.claims, f"teachers.{variant}", Teacher)
    for run in each_seed(files, entry):
        stores = link_folders(features, run.folder / "features", detector=detector, box_masks=box_masks)
        train_teacher(
            teacher=entry.method,
            pairs=run.pairs("train"),
            features=stores,
            out=run.model,
            curves=run.curves,
            params=run.params(),
            device=device,
        )
        boxes = run.folder / "boxes" / "boxes.parquet"
        write_pseudo_labels(
            pairs=run.pairs(*(("train",) if entry.teaches else ()), *run.plan.splits),
            images=files.images,
            features=stores,
            teacher=run.model,
            out=boxes.parent,
            params=run.params(),
            device=device,
        )
        if entry.teaches:
            write_labels(boxes, teacher=entry.method, out=files.out / f"labels-{run.seed}.parquet")
        answer(boxes, run, segmenter=segmenter, device=device)


def write_labels(boxes: Path, *, teacher: str, out: Path) -> None:
    """Write what students learn from: the boxes of train, without masks."""
    table = pd.read_parquet(boxes)
    train = table[table["split"] == "train"].assign(mask=None, teacher=teacher).reset_index(drop=True)
    write_table(train[["sample_id", "box", "mask", "score", "accept", "teacher"]], out)


def answer(boxes: Path, run: SeedRun, *, segmenter: Path, device: Device) -> None:
    """Write the answers; with masks, the segmenter's too, if the teacher draws its own."""
    table = pd.read_parquet(boxes)
    asked = table[table["split"].isin(run.plan.splits)].reset_index(drop=True)
    if "own_mask" not in table:
        card = read_json(run.model / "config.json", made_by="train_teacher")
        write_table(asked.assign(mask=None, teacher=card["teacher"]), run.answers())
        return
    answered = boxes.with_name("answered.parquet")
    write_table(asked, answered)
    segment_boxes(
        boxes=answered,
        images=run.files.images,
        image_root=run.files.image_root,
        segmenter=segmenter,
        teacher=run.model,
        out=run.answers(),
        device=device,
    )


if __name__ == "__main__":
    run_stage(run_teacher)
