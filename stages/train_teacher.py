"""Train one teacher on pairs of images and phrases. No box of any object is read.

reads   pairs.parquet, the dataset's feature stores, imported word vectors; params: training_seed, teachers.<teacher>
writes  model.safetensors, config.json; the curve of every loss term
run     dvc repro train_teacher@scenes-dvin
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deixis.batches.features import open_stores
from deixis.batches.samples import PAIR_COLUMNS, PairReader
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_json, read_table, write_csv
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.roles import Teacher, ZeroShotTeacher, module_of, parameter_groups, prior_of
from deixis.training.fit import Recipe, fit
from deixis.training.ranks import first_rank
from deixis.training.seeds import read_training_seed
from models.frozen.starts import start_named_words
from models.loading.teachers import build_teacher, feature_names, teacher_config, teacher_vocabulary
from models.loading.untrained import save_untrained
from training.epochs import epoch_batches


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
    seed = read_training_seed(params)
    seed_everything(seed)
    hardware = pick_device(device)
    table = read_table(pairs, columns=PAIR_COLUMNS, optional=("ref_id",), made_by="prepare")
    train = table[table["split"] == "train"]
    vocabulary = teacher_vocabulary(config, weights, train["text"])
    model = build_teacher(teacher, config, vocabulary)
    module = module_of(model).to(hardware).to(memory_format=torch.channels_last)
    card = {
        "teacher": teacher,
        "model": asdict(config),
        "vocabulary": vocabulary,
        "seed": seed,
        "weights": weights.name,
    }
    if isinstance(model, ZeroShotTeacher):
        write_csv(pd.DataFrame([{"epoch": 0, "total": 0.0}]), curves)  # the graph's plot; nothing was learned
        save_untrained(model, out, weights=weights, device=hardware, card=card | survivors_used(features / "detector"))
        return
    assert isinstance(model, Teacher)
    origins = start_prior(model, weights, hardware)
    section, recipe = f"teachers.{teacher}", read_section(params, f"teachers.{teacher}.recipe", Recipe)
    order, steps, of_epoch = epoch_batches(
        train, recipe, section=f"{section}.recipe", of="training pairs", seed=seed, found_in=pairs
    )
    names = feature_names(model)
    stores = open_stores(features, names)
    reader = PairReader(
        train, stores=stores, vocabulary=vocabulary, length=model.text_length, device=hardware, scales=model.box_scales
    )
    of_words, of_vectors = start_named_words(module, section, params=params, weights=weights)
    inputs = [*(features / name / "meta.json" for name in names), *origins, *of_vectors]
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
    about = {"training": facts, "selection": "last epoch, averaged weights"}
    if first_rank():
        save_checkpoint(module, out, config=card | survivors_used(features / "detector") | about | of_epoch | of_words)


def start_prior(model: Teacher, weights: Path, device: torch.device) -> list[Path]:
    """Let a prior take what it knows from the frozen models; the files that tell these from others."""
    prior = prior_of(model)
    if prior is None:
        return []
    prior.start_from(weights, device)
    return [weights / name / "config.json" for name in ("detector", *prior.starts)]


def survivors_used(detector: Path) -> dict[str, Any]:
    """For the card: how candidates were chosen where the detector's features hold what suppression left."""
    rule = read_json(detector / "meta.json", made_by="extract_features").get("survivors")
    return {} if rule is None else {"survivors": rule}


if __name__ == "__main__":
    run_stage(train_teacher)
