"""Train one teacher on pairs of images and phrases. No box of any object is read.

reads   pairs.parquet, the dataset's feature stores, imported word vectors; params: seed, teachers.<teacher>
writes  model.safetensors, config.json; the curve of every loss term
run     dvc repro train_teacher@scenes-dvin
"""

from dataclasses import asdict
from pathlib import Path

import torch

from deixis.batches.features import open_stores
from deixis.batches.samples import PAIR_COLUMNS, PairReader
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.language.text import build_vocabulary
from deixis.roles import module_of, parameter_groups
from deixis.training.fit import Recipe, fit
from models.frozen.starts import start_named_words
from models.loading.teachers import build_teacher, feature_names, teacher_config
from training.epochs import epoch_batches


def train_teacher(
    *,
    teacher: str,
    pairs: Path,
    features: Path,
    out: Path,
    curves: Path,
    weights: Path | None = None,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one teacher on image-phrase pairs."""
    config = teacher_config(teacher, params)
    recipe = read_section(params, f"teachers.{teacher}.recipe", Recipe)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    table = read_table(pairs, columns=PAIR_COLUMNS, optional=("ref_id",), made_by="prepare")
    train = table[table["split"] == "train"]
    section = f"teachers.{teacher}.recipe"
    order, steps, of_epoch = epoch_batches(
        train, recipe, section=section, of="training pairs", seed=seed, found_in=pairs
    )
    vocabulary = build_vocabulary(train["text"])
    model = build_teacher(teacher, config, vocabulary)
    module = module_of(model).to(hardware).to(memory_format=torch.channels_last)
    names = feature_names(model)
    reader = PairReader(
        train,
        stores=open_stores(features, names),
        vocabulary=vocabulary,
        length=model.text_length,
        device=hardware,
        scales=model.box_scales,
    )
    of_words, origins = start_named_words(module, f"teachers.{teacher}", params=params, weights=weights)
    inputs = [*(features / name / "meta.json" for name in names), *origins]
    facts = fit(
        module,
        model.loss,
        lambda epoch: (reader.batch(rows, epoch=epoch) for rows in order(epoch)),
        steps_per_epoch=steps,
        recipe=recipe,
        device=hardware,
        scratch=Path("scratch/train_teacher") / run_key(teacher, config, recipe, seed, pairs, *inputs),
        curves=curves,
        weights=model.term_weights,
        groups=parameter_groups(model),
    )
    card = {"teacher": teacher, "model": asdict(config), "vocabulary": vocabulary, "training": facts}
    about = {"selection": "last epoch, averaged weights", "seed": seed, **of_epoch}
    save_checkpoint(module, out, config=card | about | of_words)


if __name__ == "__main__":
    run_stage(train_teacher)
