"""Train one teacher on pairs of images and phrases. No box of any object is read.

reads   pairs.parquet, the dataset's feature stores, imported word vectors; params: seed, teachers.<teacher>
writes  model.safetensors, config.json; the curve of every loss term
run     dvc repro train_teacher@scenes-dvin
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deixis.batches.features import open_stores
from deixis.batches.order import count_batches, shuffled_batches
from deixis.batches.samples import PAIR_COLUMNS, PairReader
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_json, read_table, write_csv
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.roles import Settings, Teacher, ZeroShotTeacher, module_of, parameter_groups
from deixis.training.fit import Recipe, fit
from models.frozen.starts import read_vocabulary, start_named_words
from models.loading.teachers import build_teacher, feature_names, teacher_config

UNTRAINED = {
    "training": {"steps": 0, "last_ema_decay": 0.0},
    "selection": "none: nothing is trained",
    "supervision": "none: class words, words of place and colours",
}


def train_teacher(
    *,
    teacher: str,
    pairs: Path,
    features: Path,
    out: Path,
    curves: Path,
    weights: Path = Path("data/weights/embedded"),
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one teacher on image-phrase pairs, or write down one that is not trained."""
    config = teacher_config(teacher, params)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    table = read_table(pairs, columns=PAIR_COLUMNS, made_by="prepare")
    train = table[table["split"] == "train"]
    vocabulary = read_vocabulary(config.text, weights, train["text"])
    model = build_teacher(teacher, config, vocabulary)
    module = module_of(model).to(hardware).to(memory_format=torch.channels_last)
    if isinstance(model, ZeroShotTeacher):
        model.start_from(weights, hardware)
        write_csv(pd.DataFrame([{"epoch": 0, "total": 0.0}]), curves)  # the graph's plot; nothing was learned
        about = UNTRAINED
    else:
        assert isinstance(model, Teacher)
        about = _fit(model, train, config, seed, teacher, features, weights, curves, params=params, pairs=pairs)
    survivors = read_json(features / "detector" / "meta.json", made_by="extract_features").get("survivors")
    about = about | ({} if survivors is None else {"survivors": survivors})
    card = {"teacher": teacher, "model": asdict(config), "vocabulary": vocabulary, "seed": seed}
    save_checkpoint(module, out, config=card | about)


def _fit(
    model: Teacher,
    train: pd.DataFrame,
    config: Settings,
    seed: int,
    teacher: str,
    features: Path,
    weights: Path,
    curves: Path,
    *,
    params: Path,
    pairs: Path,
) -> dict[str, Any]:
    """Train it where it is; what its card says of that."""
    module = module_of(model)
    device = next(module.parameters()).device
    recipe = read_section(params, f"teachers.{teacher}.recipe", Recipe)
    setting = f"teachers.{teacher}.recipe.batch_size"
    steps = count_batches(len(train), recipe.batch_size, of="training pairs", setting=setting, found_in=pairs)
    names = feature_names(model)
    reader = PairReader(
        train,
        stores=open_stores(features, names),
        vocabulary=model.vocabulary,
        length=model.text_length,
        device=device,
        scales=model.box_scales,
    )
    order = shuffled_batches(len(reader), recipe.batch_size, seed=seed)
    of_words, origins = start_named_words(module, f"teachers.{teacher}", params=params, weights=weights)
    inputs = [*(features / name / "meta.json" for name in names), *origins]
    facts = fit(
        module,
        model.loss,
        lambda epoch: (reader.batch(rows, epoch=epoch) for rows in order(epoch)),
        steps_per_epoch=steps,
        recipe=recipe,
        device=device,
        scratch=Path("scratch/train_teacher") / run_key(teacher, config, recipe, seed, pairs, *inputs),
        curves=curves,
        weights=model.term_weights,
        groups=parameter_groups(model),
    )
    return {"training": facts, "selection": "last epoch, averaged weights"} | of_words


if __name__ == "__main__":
    run_stage(train_teacher)
