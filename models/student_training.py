"""How any student is trained on any boxes: shared by the stages that train on labels and on truth."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from deixis.core.checkpoints import load_state, run_key, save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.records import read_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.fit import Recipe, fit
from deixis.samples import shuffled_batches
from deixis.student_data import PhraseReader
from deixis.text import build_vocabulary
from models.build_student import build_student, student_config


def fit_student(
    student: str,
    train: pd.DataFrame,
    *,
    images: Path,
    image_root: Path,
    backbone: Path,
    out: Path,
    curves: Path,
    params: Path,
    device: Device,
    supervision: str,
) -> None:
    """Train on `train` (sample_id, image_id, text, box in stored pixels, mask) and write checkpoint and curves.

    A label without a mask trains the box alone; the card counts them.

    Args:
        supervision: Who drew the boxes; a teacher's name or "truth". Recorded in the card.
    """
    config = student_config(student, params)
    recipe = read_section(params, f"students.{student}.recipe", Recipe)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    if len(train) < recipe.batch_size:
        raise DataError(
            f"{len(train)} labelled pairs, fewer than one batch of {recipe.batch_size}. "
            f"Lower students.{student}.recipe.batch_size in params.yaml, then run: dvc repro"
        )
    vocabulary = build_vocabulary(train["text"])
    model = build_student(student, config, vocabulary)
    without_mask = int(train["mask"].isna().sum())
    if not model.needs_masks:
        train = train.drop(columns="mask")
    elif without_mask == len(train):
        raise DataError(
            f"{student} learns masks, and none of the {len(train)} labels has one. "
            "Run: dvc repro segment_boxes, or name a student that needs boxes alone"
        )
    weights, _ = load_state(backbone / "model.safetensors")
    model.backbone.load_state_dict(weights, strict=True)
    model.to(hardware, memory_format=torch.channels_last)
    table = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    reader = PhraseReader(
        train,
        table,
        image_root=image_root,
        side=config.input_size,
        vocabulary=vocabulary,
        length=config.text.length,
        device=hardware,
    )
    order = shuffled_batches(len(reader), recipe.batch_size, seed=seed)
    targets = str(train["box"].map(list).tolist()), str(train["mask"].tolist() if model.needs_masks else None)
    inputs = pd.util.hash_pandas_object(train[["sample_id", "text"]]).sum(), *targets
    facts = fit(
        model,
        model.loss,
        lambda epoch: (reader.batch(rows) for rows in order(epoch)),
        steps_per_epoch=len(reader) // recipe.batch_size,
        recipe=recipe,
        device=hardware,
        scratch=Path("scratch/train_student")
        / run_key(student, config, recipe, seed, inputs, images, backbone / "model.safetensors"),
        curves=curves,
        weights=model.term_weights,
        groups=model.parameter_groups(),
    )
    card = {"student": student, "model": asdict(config), "vocabulary": vocabulary, "training": facts}
    about = {"supervision": supervision, "selection": "last epoch, averaged weights", "seed": seed}
    if model.needs_masks:
        about["labels_without_mask"] = without_mask
    save_checkpoint(model, out, config=card | about)
