"""Train one expert on the detection split, with the objective of its namesake.

reads   the pretraining folder (captions only where the objective asks for them); params: seed, experts.<name>
writes  model.safetensors, config.json, training_images.parquet; contrastive experts also matcher/, their text tower
run     dvc repro pretrain_expert@contrastive_vit
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import write_table
from deixis.core.registry import resolve
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.datasets.pretraining import PretrainingSet
from deixis.training.fit import Recipe, fit
from models.experts import EXPERTS
from models.experts.contrastive_objective import ContrastiveObjective


def pretrain_expert(
    *, expert: str, pretraining: Path, out: Path, params: Path = Path("params.yaml"), device: Device = "auto"
) -> None:
    """Train one expert on the detection split."""
    kind = resolve(EXPERTS, expert, role="expert")
    config = read_section(params, f"experts.{expert}.model", kind.Config)
    recipe = read_section(params, f"experts.{expert}.recipe", Recipe)
    side = read_section(params, "detector.model.input_size", int)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    data = PretrainingSet(pretraining, side=side)
    model = kind(config)
    objective = model.objective(data.captions).to(hardware)
    steps = len(data.image_ids) // recipe.batch_size

    def batches(epoch: int):
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(data.image_ids), generator=generator)
        for rows in order[: steps * recipe.batch_size].split(recipe.batch_size):
            squares = data.reader.squares([data.image_ids[row] for row in rows])
            yield squares.to(hardware), rows.to(hardware), generator

    facts = fit(
        objective,
        lambda batch: objective.loss(*batch),
        batches,
        steps_per_epoch=steps,
        recipe=recipe,
        device=hardware,
        scratch=Path("scratch/pretrain_expert") / run_key(expert, config, recipe, seed, pretraining / "instances.json"),
    )
    save_checkpoint(model, out, config={"model": asdict(config), "labels": kind.labels, "training": facts})
    if isinstance(objective, ContrastiveObjective):  # with its text tower the expert is an image-text model
        captions = objective.captions
        save_checkpoint(
            captions.matcher, out / "matcher", config={"width": model.width, "vocabulary": captions.vocabulary}
        )
    write_table(pd.DataFrame({"image_id": data.image_ids}), out / "training_images.parquet")


if __name__ == "__main__":
    run_stage(pretrain_expert)
