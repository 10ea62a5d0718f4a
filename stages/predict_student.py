"""Let a trained student answer the evaluation pairs. No truth is read.

Masks are the student's own where it draws some, else the segmenter's in its boxes; `mask_source` says whose.

reads   pairs.parquet, images.parquet, the images, the student, the segmenter; for students that rank boxes the table
        of boxes that they learned with
writes  predictions.parquet
run     dvc repro predict_student@scenes-dvin-simrec
"""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deixis.batches.features import chunks
from deixis.batches.samples import PAIR_COLUMNS
from deixis.batches.student_data import PhraseReader
from deixis.core.cli import run_stage
from deixis.core.progress import track
from deixis.core.records import read_json, read_table, write_table
from deixis.core.runtime import Device, autocast, pick_device
from deixis.imaging.masks import RLE
from deixis.labelling.segmenting import segment_table
from deixis.roles import Segmenter
from models.loading.encoders import load_segmenter
from models.loading.students import load_student, phrase_reader, read_candidates

BATCH_SIZE = 64


def predict_student(
    *,
    student: Path,
    pairs: Path,
    images: Path,
    image_root: Path,
    segmenter: Path,
    out: Path,
    candidates: Path | None = None,
    device: Device = "auto",
) -> None:
    """Let a trained student answer the evaluation pairs."""
    hardware = pick_device(device)
    model = load_student(student, hardware)
    table = read_table(pairs, columns=PAIR_COLUMNS, made_by="prepare")
    table = table[table["split"] != "train"].reset_index(drop=True)
    pictures = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    card = read_json(student / "config.json", made_by="train_student")
    reader = phrase_reader(
        model,
        table,
        pictures,
        image_root=image_root,
        device=hardware,
        candidates=read_candidates(model, candidates, pictures, source=card.get("candidates", "detections")),
    )
    answers = answer_phrases(model, reader, table, hardware)
    if "mask" not in answers:
        paths = {number: image_root / path for number, path in pictures[["image_id", "path"]].itertuples(index=False)}
        answers = with_prompted_masks(answers, load_segmenter("small_sam", segmenter, hardware), paths=paths)
    write_table(answers, out)


def answer_phrases(model: Any, reader: PhraseReader, table: pd.DataFrame, device: torch.device) -> pd.DataFrame:
    """Box and score of every row of `table`, and point and mask where the student gives some; in stored pixels."""
    boxes: list[list[float]] = []
    scores: list[float] = []
    drawn: list[RLE] = []
    points: list[list[int]] = []
    batches = list(chunks(range(len(reader)), BATCH_SIZE))
    for rows in track(batches, "predicting", total=len(batches)):
        with autocast(device):
            found = model.predict(reader.batch(rows))
        boxes += reader.to_image(rows, found.boxes_xyxy.float()).tolist()
        scores += found.scores.float().tolist()
        if found.points_xy is not None:
            points += reader.to_image(rows, found.points_xy.repeat(1, 2).float())[:, :2].long().tolist()
        if found.masks is not None:
            drawn += reader.masks_to_image(rows, found.masks, found.mask_threshold)
    table = pd.DataFrame(table[["sample_id", "image_id", "expression", "split"]]).assign(box=boxes, score=scores)
    if points:
        table = table.assign(point=points)
    if drawn:
        table = table.assign(mask=drawn, mask_source="student")
    return table


def with_prompted_masks(table: pd.DataFrame, segmenter: Segmenter, *, paths: dict[Any, Path]) -> pd.DataFrame:
    """The table with the segmenter's mask of every box."""
    masks, quality = segment_table(segmenter, table, paths=paths)
    return table.assign(mask=masks, mask_quality=quality, mask_source="segmenter")


if __name__ == "__main__":
    run_stage(predict_student)
