"""Train one teacher of response maps on images and phrases. No box or mask of any object is read.

reads   pairs.parquet, images.parquet, the images, the folder of frozen models; params: training_seed,
        map_teachers.<teacher>
writes  model.safetensors, config.json; the curve of every loss term
run     dvc repro train_map_teacher@scenes_plus-tris, with tris under run.map_teachers in params.yaml
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deixis.batches.map_data import MapReader, count_fallbacks, read_needed_cues, refuse_other_squares
from deixis.batches.order import BatchOrder, count_batches, image_batches
from deixis.batches.samples import grouped_pairs, refuse_ungrouped
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import read_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.roles import MapTeacher, module_of, parameter_groups
from deixis.training.fit import Recipe, fit
from deixis.training.ranks import first_rank
from deixis.training.seeds import read_training_seed
from models.frozen.starts import read_vocabulary
from models.loading.map_teachers import build_map_teacher, map_teacher_config
from training.epochs import own_batches, refuse_other_epochs
from training.files import TrainingFiles, TrainingOptions


def train_map_teacher(
    *,
    teacher: str,
    pairs: Path,
    files: TrainingOptions,
    cues: Path | None = None,
    proposals: Path | None = None,
    device: Device = "auto",
) -> None:
    """Train one teacher of response maps on image-phrase pairs that are grouped by object."""
    config = map_teacher_config(teacher, files.params)
    recipe = read_section(files.params, f"map_teachers.{teacher}.recipe", Recipe)
    seed = read_training_seed(files.params)
    seed_everything(seed)
    hardware = pick_device(device)
    table = grouped_pairs(pairs)
    train = table[table["split"] == "train"].reset_index(drop=True)
    order, steps = map_batches(train, teacher, config.objects_per_image, recipe, seed=seed, found_in=pairs)
    vocabulary = read_vocabulary(config.text, files.weights, train["text"])
    model = build_map_teacher(teacher, config, vocabulary)
    module = module_of(model).to(hardware)
    refuse_missing_groups(model, teacher, train, config.objects_per_image, found_in=pairs)
    model.start_from(files.weights, hardware)
    cues, proposals = cues if model.cue_reading else None, needed_proposals(model, proposals)
    reader = open_reader(model, train, files, cues=cues, proposals=proposals, device=hardware)
    inputs = [files.weights / name / "model.safetensors" for name in model.starts]
    inputs += [*([cues] if cues else []), *([proposals / "meta.json"] if proposals else [])]
    key = run_key(teacher, config, recipe, seed, pairs, files.images, *inputs)
    facts = fit(
        module,
        model.loss,
        lambda epoch: (reader.batch(rows, epoch=epoch) for rows in order(epoch)),
        steps_per_epoch=steps,
        recipe=recipe,
        device=hardware,
        scratch=Path("scratch/train_map_teacher") / key,
        curves=files.curves,
        weights=model.term_weights,
        groups=parameter_groups(model),
    )
    card = {"map_teacher": teacher, "model": asdict(config), "vocabulary": vocabulary, "training": facts}
    about: dict[str, Any] = {"supervision": "image-phrase pairs, grouped by object"}
    about |= {"selection": "last epoch, averaged weights", "seed": seed}
    about |= {"cue_fallbacks": count_fallbacks(cues)} if cues else {}
    about |= {"images_without_proposals": reader.images_without_proposals()} if proposals else {}
    if first_rank():
        save_checkpoint(module, files.out, config=card | about)


def map_batches(
    train: pd.DataFrame, teacher: str, objects_per_image: int, recipe: Recipe, *, seed: int, found_in: Path
) -> tuple[BatchOrder, int]:
    """Batches of whole images of each epoch, a phrase per object, and how many; the batch size counts phrases.

    Raises:
        DataError: If there is not one batch.
    """
    refuse_other_epochs(recipe, f"map_teachers.{teacher}")
    images = max(1, recipe.batch_size // objects_per_image)
    setting = f"map_teachers.{teacher}.recipe.batch_size"
    count = train["image_id"].nunique()
    steps = count_batches(count, images, of="training images", setting=setting, found_in=found_in)
    order = image_batches(
        train["image_id"].tolist(),
        train["group"].tolist(),
        images=images,
        phrases_per_object=1,
        objects_per_image=objects_per_image,
        seed=seed,
    )
    return own_batches(order, train), steps


def open_reader(
    model: MapTeacher,
    train: pd.DataFrame,
    files: TrainingFiles,
    *,
    cues: Path | None,
    proposals: Path | None,
    device: torch.device,
) -> MapReader:
    """Phrases and images as the teacher reads them, with cues and proposals where it needs them."""
    images = read_table(files.images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    phrase_cues = read_needed_cues(model, cues, train["text"])
    if proposals:
        refuse_other_squares(proposals, stretch=model.reading.stretch)
    return MapReader(
        train,
        images,
        image_root=files.image_root,
        reading=model.reading,
        device=device,
        cues=phrase_cues,
        proposals=proposals,
    )


def refuse_missing_groups(
    model: MapTeacher, teacher: str, train: pd.DataFrame, objects_per_image: int, *, found_in: Path
) -> None:
    """Stop where a loss parts phrases about different objects, and batches or pairs do not allow it.

    Raises:
        ConfigError: If a batch has one object of each image.
        DataError: If some phrases are not grouped.
    """
    if model.needs_groups:
        setting, without = model.needs_groups
        refuse_lone_objects(objects_per_image, teacher, setting, without)
        setting = f"map_teachers.{teacher}.model.{setting}"
        refuse_ungrouped(train, found_in=found_in, setting=setting, without=without)


def refuse_lone_objects(objects_per_image: int, teacher: str, setting: str, without: str) -> None:
    """Stop where a loss compares phrases about different objects of an image, and a batch has one of each image.

    Raises:
        ConfigError: If so; else the loss would be zero without a word.
    """
    if objects_per_image == 1:
        name = f"map_teachers.{teacher}.model"
        raise ConfigError(
            f"{name}.objects_per_image is 1, so that no batch holds two objects of an image, which {name}.{setting} "
            f"compares. Allowed: 2 or more, or {name}.{setting}: {without}. Fix params.yaml, then run: dvc repro"
        )


def needed_proposals(model: MapTeacher, proposals: Path | None) -> Path | None:
    """The folder of proposals for teachers that weigh them, None for others.

    Raises:
        DataError: If they are needed and no folder is named.
    """
    if not model.needs_proposals:
        return None
    if proposals is None:
        raise DataError(
            "this teacher weighs mask proposals, and no folder of them was named (--proposals). "
            "Put the dataset under run.proposals in params.yaml, then run: dvc repro"
        )
    return proposals


if __name__ == "__main__":
    run_stage(train_map_teacher)
