"""Train the students' backbone on the detection split: boxes, categories and captions, no phrase.

The papers' students start from a detector trained on COCO without the evaluation images, whose own start was
ImageNet. Boxes and categories stand for the former here; captions stand for the latter: they teach colour.

reads   the pretraining folder; params: seed, backbone, detector.model.input_size
writes  model.safetensors, config.json, training_images.parquet
run     dvc repro pretrain_backbone
"""

from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.runtime import Device
from deixis.training.fit import Recipe
from models.blocks.csp_darknet import CellDetector, CSPConfig, CSPDarkNet, as_input
from models.experts.contrastive_objective import CaptionObjective
from training.pretraining import MakeBatch, Pretraining, mirror_half, open_pretraining

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
    run = open_pretraining("pretrain_backbone", pretraining, side=side, params=params, device=device)
    model = BackboneObjective(config.model, run.data.num_categories, run.data.captions())
    model.to(run.device).to(memory_format=torch.channels_last)
    facts = run.train(
        model,
        lambda batch: model.loss(*batch),
        backbone_batches(run),
        recipe=config.recipe,
        inputs=(config,),
        weights=TERM_WEIGHTS,
    )
    run.save(model.backbone, out, config=config.model, labels="box", facts={"training": facts})


class BackboneObjective(nn.Module):
    """The backbone between what teaches it: boxes and categories per cell, and the caption of the whole image."""

    def __init__(self, config: CSPConfig, num_categories: int, captions: list[list[str]]) -> None:
        super().__init__()
        self.backbone = CSPDarkNet(config)
        width = self.backbone.num_features
        self.cells = CellDetector(width, num_classes=num_categories, stride=config.stride)
        self.captions = CaptionObjective(width, captions)

    def loss(
        self, images: Tensor, known: tuple[Tensor, ...], rows: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The detector's terms and `contrast`.

        Args:
            known: Boxes, categories and which of them count.
            rows: Places of the images in the split.
        """
        coarse = self.backbone.stage_maps(images)[2]
        described = self.captions.loss(coarse.mean((2, 3)), rows, generator)
        return self.cells.loss(self.backbone.pyramid(coarse), *known) | described


def backbone_batches(run: Pretraining) -> MakeBatch:
    """What `BackboneObjective` learns from: images, half of them mirrored, and their objects."""
    objects = run.data.objects()

    def make_batch(rows: Tensor, _: int, generator: torch.Generator) -> tuple[Any, ...]:
        boxes, squares = mirror_half(objects.boxes_xyxy[rows], run.data.squares(rows), generator=generator)
        known = tuple(t.to(run.device) for t in (boxes, objects.categories[rows], objects.valid[rows]))
        return as_input(squares).to(run.device), known, rows.to(run.device), generator

    return make_batch


if __name__ == "__main__":
    run_stage(pretrain_backbone)
