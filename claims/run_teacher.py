"""Train one variant of a teacher once per seed, and let it answer val, and label train where it teaches; no truth.

reads   pairs.parquet, images.parquet, feature stores, the detector's of all scales, masks of boxes, the images, the
        segmenter;
        params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the teacher, its answers to val (`answers-0.parquet`), and labels for its students
        (`labels-0.parquet`)
run     dvc repro claims/dvc.yaml:run_teacher@refclip
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from claims.entries import Plan, Teacher, answers_file, model_folder, params_of
from claims.inputs import SPLIT, write_pairs, write_params
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
    pairs: Path,
    images: Path,
    features: Path,
    detector: Path,
    box_masks: Path,
    image_root: Path,
    segmenter: Path,
    out: Path,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one variant of a teacher once per seed, and let it answer."""
    entry = read_section(claims, f"teachers.{variant}", Teacher)
    shared = read_section(plan, "measure", Plan)
    for seed in shared.seeds:
        with TemporaryDirectory() as name:
            folder = Path(name)
            settings = write_params(params_of(params, shared, entry.overrides, seed=seed), folder / "params.yaml")
            stores = link_stores(features, folder / "features", detector=detector, box_masks=box_masks)
            asked = write_pairs(pairs, folder, splits=("train", SPLIT) if entry.teaches else (SPLIT,))
            teacher, boxes = out / model_folder(seed), folder / "boxes" / "boxes.parquet"
            train_teacher(
                teacher=entry.method,
                pairs=write_pairs(pairs, folder, splits=("train",)),
                features=stores,
                out=teacher,
                curves=folder / "curves.csv",
                params=settings,
                device=device,
            )
            write_pseudo_labels(
                pairs=asked,
                images=images,
                features=stores,
                teacher=teacher,
                out=boxes.parent,
                params=settings,
                device=device,
            )
            if entry.teaches:
                write_labels(boxes, teacher=entry.method, out=out / f"labels-{seed}.parquet")
            answer_val(
                boxes,
                images=images,
                image_root=image_root,
                segmenter=segmenter,
                teacher=teacher,
                out=out / answers_file(seed),
                device=device,
            )


def link_stores(features: Path, folder: Path, **others: Path) -> Path:
    """One folder with the dataset's feature stores and others, by name and in their place, as teachers expect it."""
    folder.mkdir()
    for name, store in ({store.name: store for store in features.iterdir()} | others).items():
        (folder / name).symlink_to(store.resolve(), target_is_directory=True)
    return folder


def write_labels(boxes: Path, *, teacher: str, out: Path) -> None:
    """Write what students learn from: the boxes of train, without masks."""
    table = pd.read_parquet(boxes)
    train = table[table["split"] == "train"].assign(mask=None, teacher=teacher).reset_index(drop=True)
    write_table(train[["sample_id", "box", "mask", "score", "accept", "teacher"]], out)


def answer_val(
    boxes: Path, *, images: Path, image_root: Path, segmenter: Path, teacher: Path, out: Path, device: Device
) -> None:
    """Write the answers to val; with masks, the segmenter's too, if the teacher draws its own."""
    table = pd.read_parquet(boxes)
    asked = table[table["split"] == SPLIT].reset_index(drop=True)
    if "own_mask" not in table:
        card = read_json(teacher / "config.json", made_by="train_teacher")
        write_table(asked.assign(mask=None, teacher=card["teacher"]), out)
        return
    answered = boxes.with_name("answered.parquet")
    write_table(asked, answered)
    segment_boxes(
        boxes=answered,
        images=images,
        image_root=image_root,
        segmenter=segmenter,
        teacher=teacher,
        out=out,
        device=device,
    )


if __name__ == "__main__":
    run_stage(run_teacher)
