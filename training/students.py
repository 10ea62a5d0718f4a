"""How any student is trained on any boxes: shared by the stages that train on labels and on truth."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from deixis.batches.candidates import CandidateSource, CandidateTable
from deixis.batches.order import BatchOrder, count_batches, image_batches
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.records import read_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.imaging.prompted_masks import refuse_masks
from deixis.roles import Student, module_of, parameter_groups
from deixis.training.fit import Recipe, fit
from deixis.training.ranks import first_rank
from deixis.training.seeds import read_training_seed
from models.frozen.starts import read_vocabulary, start_named_words, start_part
from models.loading.students import as_ranking, build_student, phrase_reader, read_candidates, student_config
from training.epochs import epoch_batches, own_batches, refuse_other_epochs
from training.files import TrainingFiles

ROOM_FOR_MAPS = 2 << 30  # bytes for what frozen layers make of images; beyond them it is computed in each step


def fit_student(
    student: str,
    train: pd.DataFrame,
    files: TrainingFiles,
    *,
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
        supervision: Who drew the boxes; a teacher's name or "truth". Recorded in the card.
        candidates: Table of boxes, for students that rank candidates; others never open it.
        candidates_from: Whose boxes they are. Recorded in the card of such students.
        counted: What was left out of `train`, for the card.
    """
    config = student_config(student, files.params)
    recipe = read_section(files.params, f"students.{student}.recipe", Recipe)
    seed = read_training_seed(files.params)
    seed_everything(seed)
    hardware = pick_device(device)
    vocabulary = read_vocabulary(config.text, files.weights, train["text"])
    model = build_student(student, config, vocabulary)
    module = module_of(model)
    train, of_masks = learnable_masks(train, student) if model.needs_masks else (train.drop(columns="mask"), {})
    table = read_table(files.images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    boxes = read_candidates(model, candidates, table, source=candidates_from)
    train, of_boxes = choose_positives(model, train, boxes, source=candidates_from)
    order, steps, of_epoch = batch_order(model, student, train, recipe, seed)
    of_words, starts = start_student(module, model.starts, student, files)
    module.to(hardware).to(memory_format=torch.channels_last)
    reader = phrase_reader(
        model, train, table, image_root=files.image_root, device=hardware, candidates=boxes, room_for_maps=ROOM_FOR_MAPS
    )
    inputs = [files.images, *([] if boxes is None or candidates is None else [candidates]), *starts]
    key = run_key(student, config, recipe, seed, fingerprint(train), candidates_from, *inputs)
    facts = fit(
        module,
        model.loss,
        lambda epoch: (reader.batch(rows) for rows in order(epoch)),
        steps_per_epoch=steps,
        recipe=recipe,
        device=hardware,
        scratch=Path("scratch/train_student") / key,
        curves=files.curves,
        weights=model.term_weights,
        groups=parameter_groups(model),
    )
    card = {"student": student, "model": asdict(config), "vocabulary": vocabulary, "training": facts}
    about = {**(counted or {}), **of_masks, **of_boxes, **of_words, **of_epoch}
    about |= {"supervision": supervision, "selection": "last epoch, averaged weights", "seed": seed}
    if first_rank():
        save_checkpoint(module, files.out, config=card | about)


def learnable_masks(train: pd.DataFrame, student: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Labels with None for a mask that is refused, and for the card how many have none.

    Raises:
        DataError: If none is left.
    """
    train, refused = refuse_masks(train)
    lacking = int(train["mask"].isna().sum())
    if lacking == len(train):
        raise DataError(
            f"{student} learns masks, and none of the {len(train)} labels has one to learn from; {refused} are "
            "empty or unlike their box. Run: dvc repro segment_boxes, or name a student that needs boxes alone"
        )
    return train, {"labels_without_mask": lacking, "masks_refused": refused}


def choose_positives(
    model: Student, train: pd.DataFrame, boxes: CandidateTable | None, *, source: CandidateSource
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """For a student that ranks candidates its attributes and the labels it can learn, and what its card says of them.

    Others, for whom there are no candidates, learn all.
    """
    ranking = as_ranking(model)
    if ranking is None or boxes is None:
        return train, {}
    ranking.choose_attributes(train["text"].tolist())
    near = with_positives(train, boxes, min_iou=ranking.min_iou)
    return near, {"candidates": source, "labels_dropped": len(train) - len(near)}


def start_student(
    module: nn.Module, starts: Sequence[str], student: str, files: TrainingFiles
) -> tuple[dict[str, Any], list[Path]]:
    """Load the parts and word vectors that a student starts from; what its card says of them, and their files."""
    for name in starts:
        start_part(module.get_submodule(name), files.weights, name)
    about, origins = start_named_words(module, f"students.{student}", params=files.params, weights=files.weights)
    return about, [files.weights / name / "model.safetensors" for name in starts] + origins


def fingerprint(train: pd.DataFrame) -> tuple[Any, ...]:
    """What tells these labels from others: phrases, boxes and, where they are learnt, masks."""
    masks = train["mask"].tolist() if "mask" in train else None
    known = [name for name in ("sample_id", "text", "ref_id") if name in train]
    phrases = pd.util.hash_pandas_object(train[known]).sum()
    return phrases, str(train["box"].map(list).tolist()), str(masks)


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


def batch_order(
    model: Student, student: str, train: pd.DataFrame, recipe: Recipe, seed: int
) -> tuple[BatchOrder, int, dict[str, Any]]:
    """Batches of each epoch, how many, and what the card says of them.

    The recipe's batch size counts images where a student learns by image.

    Raises:
        DataError: If there is not one batch.
    """
    section, size = f"students.{student}.recipe", recipe.batch_size
    ranking = as_ranking(model)
    if ranking is None:
        return epoch_batches(train, recipe, section=section, of="labelled pairs", seed=seed)
    refuse_other_epochs(recipe, f"students.{student}")
    order = image_batches(
        train["image_id"].tolist(),
        train["positive"].tolist(),
        images=size,
        phrases_per_object=ranking.phrases_per_object,
        seed=seed,
    )
    images = train["image_id"].nunique()
    return (
        own_batches(order, train),
        count_batches(images, size, of="labelled images", setting=f"{section}.batch_size"),
        {},
    )
