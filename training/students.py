"""How any student is trained on any boxes: shared by the stages that train on labels and on truth."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deixis.batches.candidates import CandidateSource, CandidateTable
from deixis.batches.order import BatchOrder, count_batches, image_batches, shuffled_batches
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.records import read_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.imaging.prompted_masks import refuse_masks
from deixis.training.fit import Recipe, fit
from models.loading.starts import named_vectors, read_vocabulary, start_part, start_words
from models.loading.students import build_student, phrase_reader, read_candidates, student_config


def fit_student(
    student: str,
    train: pd.DataFrame,
    *,
    images: Path,
    image_root: Path,
    weights: Path,
    out: Path,
    curves: Path,
    params: Path,
    device: Device,
    supervision: str,
    candidates: Path | None = None,
    candidates_from: CandidateSource = "detections",
    counted: Mapping[str, int] | None = None,
) -> None:
    """Train on `train` (sample_id, image_id, text, box in stored pixels, mask) and write checkpoint and curves.

    A label without a mask trains the box alone, and nothing where a student learns masks alone (TRIS's second step).
    The card counts them, and those whose mask was refused: empty, or true in a column `prompted` and unlike its box.

    Args:
        weights: Folder of frozen models; what the student starts from lies there.
        supervision: Who drew the boxes; a teacher's name or "truth". Recorded in the card.
        candidates: Table of boxes, for students that rank candidates; others never open it.
        candidates_from: Whose boxes they are. Recorded in the card of such students.
        counted: What was left out of `train`, for the card.
    """
    config = student_config(student, params)
    recipe = read_section(params, f"students.{student}.recipe", Recipe)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    vocabulary = read_vocabulary(config.text, weights, train["text"])
    model = build_student(student, config, vocabulary)
    about: dict[str, Any] = dict(counted or {})
    if model.needs_masks:
        train, refused = refuse_masks(train)
        about |= {"labels_without_mask": int(train["mask"].isna().sum()), "masks_refused": refused}
        if about["labels_without_mask"] == len(train):
            raise DataError(
                f"{student} learns masks, and none of the {len(train)} labels has one to learn from; {refused} are "
                "empty or unlike their box. Run: dvc repro segment_boxes, or name a student that needs boxes alone"
            )
    else:
        train = train.drop(columns="mask")
    table = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    boxes = read_candidates(model, candidates, table, source=candidates_from)
    if boxes is not None:
        labels = len(train)
        model.choose_attributes(train["text"].tolist())
        train = with_positives(train, boxes, min_iou=model.config.min_iou)
        about |= {"candidates": candidates_from, "labels_dropped": labels - len(train)}
    order, steps = batch_order(model, student, train, recipe, seed)
    files = [images, *([] if boxes is None or candidates is None else [candidates])]
    for name in model.starts:
        start_part(getattr(model, name), weights, name)
        files.append(weights / name / "model.safetensors")
    vectors = named_vectors(f"students.{student}", params)
    if vectors:
        words, origin = start_words(model, weights, vectors)
        about |= words
        files.append(origin)
    model.to(hardware, memory_format=torch.channels_last)
    reader = phrase_reader(model, train, table, image_root=image_root, device=hardware, candidates=boxes)
    targets = str(train["box"].map(list).tolist()), str(train["mask"].tolist() if model.needs_masks else None)
    inputs = pd.util.hash_pandas_object(train[["sample_id", "text"]]).sum(), *targets
    facts = fit(
        model,
        model.loss,
        lambda epoch: (reader.batch(rows) for rows in order(epoch)),
        steps_per_epoch=steps,
        recipe=recipe,
        device=hardware,
        scratch=Path("scratch/train_student") / run_key(student, config, recipe, seed, inputs, candidates_from, *files),
        curves=curves,
        weights=model.term_weights,
        groups=model.parameter_groups(),
    )
    card = {"student": student, "model": asdict(config), "vocabulary": vocabulary, "training": facts}
    about |= {"supervision": supervision, "selection": "last epoch, averaged weights", "seed": seed}
    save_checkpoint(model, out, config=card | about)


def with_positives(train: pd.DataFrame, candidates: CandidateTable, *, min_iou: float) -> pd.DataFrame:
    """Labels that a candidate overlaps by `min_iou` or more, with its place among their image's as `positive`.

    Raises:
        DataError: If there are none.
    """
    boxes = torch.tensor(train["box"].map(list).tolist(), dtype=torch.float32).view(-1, 4)
    nearest = candidates.nearest(train["image_id"].tolist(), boxes)
    near = (nearest.iou >= min_iou).numpy()
    if not near.any():
        raise DataError(
            f"none of the {len(train)} labels has a candidate at IoU {min_iou} or more; the best is at "
            f"{nearest.iou.max():.2f}. Allowed: candidates of the labels' own images, or a lower min_iou of the "
            "student in params.yaml. Then run: dvc repro"
        )
    return train.assign(positive=nearest.place.numpy())[near]


def batch_order(model: Any, student: str, train: pd.DataFrame, recipe: Recipe, seed: int) -> tuple[BatchOrder, int]:
    """Batches of each epoch, and how many; the recipe's batch size counts images where a student learns by image.

    Raises:
        DataError: If there is not one batch.
    """
    size, setting = recipe.batch_size, f"students.{student}.recipe.batch_size"
    if not model.needs_candidates:
        steps = count_batches(len(train), size, of="labelled pairs", setting=setting)
        return shuffled_batches(len(train), size, seed=seed), steps
    order = image_batches(
        train["image_id"].tolist(),
        train["positive"].tolist(),
        images=size,
        phrases_per_object=model.config.phrases_per_object,
        seed=seed,
    )
    return order, count_batches(train["image_id"].nunique(), size, of="labelled images", setting=setting)
