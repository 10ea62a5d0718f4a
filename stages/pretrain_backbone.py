"""Train the students' backbone on the detection split: boxes, categories and captions, no phrase.

The papers' students start from a detector trained on COCO without the evaluation images, whose own start was
ImageNet. Boxes and categories stand for the former here; captions stand for the latter: they teach colour.

reads   the pretraining folder; params: seed, backbone, detector.model.input_size
writes  model.safetensors, config.json, training_images.parquet
run     dvc repro pretrain_backbone
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.records import write_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.datasets.pretraining import PretrainingSet
from deixis.training.fit import Recipe, fit
from models.blocks.csp_darknet import CellDetector, CSPConfig, CSPDarkNet, as_input
from models.experts.contrastive_objective import CaptionObjective

TERM_WEIGHTS = {"box": 2.0}


@dataclass(frozen=True, config=STRICT)
class BackboneParams:
    """The `backbone` section."""

    model: CSPConfig
    recipe: Recipe


def pretrain_backbone(
    *, pretraining: Path, out: Path, params: Path = Path("params.yaml"), device: Device = "auto"
) -> None:
    """Train the students' backbone on boxes and categories of the detection split."""
    config = read_section(params, "backbone", BackboneParams)
    side = read_section(params, "detector.model.input_size", int)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    data = PretrainingSet(pretraining, side=side)
    objects = data.objects()
    backbone = CSPDarkNet(config.model)
    width = backbone.num_features
    cells = CellDetector(width, num_classes=data.num_categories, stride=config.model.stride)
    captions = CaptionObjective(width, data.captions())
    model = nn.ModuleDict({"backbone": backbone, "cells": cells, "captions": captions})
    model.to(hardware).to(memory_format=torch.channels_last)
    steps = len(data.image_ids) // config.recipe.batch_size

    def batches(epoch: int):
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(data.image_ids), generator=generator)
        for rows in order[: steps * config.recipe.batch_size].split(config.recipe.batch_size):
            squares, boxes = (
                data.reader.squares([data.image_ids[row] for row in rows]),
                objects.boxes_xyxy[rows].clone(),
            )
            if torch.rand((), generator=generator) < 0.5:
                squares = squares.flip(3)
                boxes[..., [0, 2]] = side - boxes[..., [2, 0]]
            images = as_input(squares)
            known = tuple(t.to(hardware) for t in (boxes, objects.categories[rows], objects.valid[rows]))
            yield images.to(hardware), known, rows.to(hardware), generator

    def loss(batch: Any) -> dict[str, Tensor]:
        images, known, rows, generator = batch
        coarse = backbone.stage_maps(images)[2]
        described = captions.loss(coarse.mean((2, 3)), rows, generator)
        return cells.loss(backbone.pyramid(coarse), *known) | described

    facts = fit(
        model,
        loss,
        batches,
        steps_per_epoch=steps,
        recipe=config.recipe,
        device=hardware,
        scratch=Path("scratch/pretrain_backbone") / run_key(config, seed, pretraining / "instances.json"),
        weights=TERM_WEIGHTS,
    )
    save_checkpoint(backbone, out, config={"model": asdict(config.model), "labels": "box", "training": facts})
    write_table(pd.DataFrame({"image_id": data.image_ids}), out / "training_images.parquet")


if __name__ == "__main__":
    run_stage(pretrain_backbone)
