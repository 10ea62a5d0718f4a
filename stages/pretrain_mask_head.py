"""Train a mask head on the frozen detector, on masks of the detection split: no phrase, no category.

reads   the pretraining folder, the detector; params: seed, mask_heads
writes  model.safetensors, config.json, training_images.parquet
run     dvc repro pretrain_mask_head@prototype_masks, with prototype_masks under run.mask_heads in params.yaml
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.runtime import Device
from deixis.datasets.pretraining import PretrainingSet
from deixis.roles import Detector
from deixis.training.fit import Recipe
from models.detectors.prototype_masks import GROWTH, PrototypeMasks, PrototypeMasksConfig, mask_head_loss
from models.frozen.detectors import detector_side, load_detector
from training.pretraining import MakeBatch, Pretraining, mirror_half, open_pretraining


@dataclass(frozen=True, config=STRICT)
class MaskHeadParams:
    """One entry of the `mask_heads` section."""

    model: PrototypeMasksConfig
    recipe: Recipe


def pretrain_mask_head(
    *, pretraining: Path, detector: Path, out: Path, params: Path = Path("params.yaml"), device: Device = "auto"
) -> None:
    """Train a mask head on masks of the detection split; the detector stays as it is."""
    config = read_section(params, "mask_heads.prototype_masks", MaskHeadParams)
    run = open_pretraining(
        "pretrain_mask_head", pretraining, side=detector_side(detector), params=params, device=device
    )
    frozen = load_detector(detector, run.device)
    model = PrototypeMasks(config.model).to(run.device)
    facts = run.train(
        model,
        lambda batch: mask_head_loss(model, *batch),
        mask_batches(run, frozen),
        recipe=config.recipe,
        inputs=(config, detector / "model.safetensors"),
    )
    run.save(model, out, config=config.model, labels="mask", facts={"training": facts})


def mask_batches(run: Pretraining, detector: Detector) -> MakeBatch:
    """What the detector says about images, half of them mirrored, and their objects in pixels of the prototypes."""
    objects = run.data.objects()
    side = detector.input_size
    stride = detector.strides[2] / GROWTH  # pixels of the input per pixel of the prototypes

    def make_batch(rows: Tensor, _: int, generator: torch.Generator) -> tuple[Any, ...]:
        boxes, ids = objects.boxes_xyxy[rows], run.data.ids_of(rows)
        masks = covered_shares(run.data, ids, most=boxes.shape[1], grid=round(side / stride))
        boxes, squares, masks = mirror_half(boxes, run.data.squares(rows), masks, generator=generator)
        with torch.no_grad():
            detected = detector.detect(squares.to(run.device))
        known = (tensor.to(run.device) for tensor in (boxes / stride, masks, objects.valid[rows]))
        return detected.maps, cxcywh_to_xyxy(detected.boxes[..., :4]) / stride, *known

    return make_batch


def covered_shares(data: PretrainingSet, image_ids: list[int], *, most: int, grid: int) -> Tensor:
    """Share of each pixel of a grid over the square input that each object covers: [images, most, grid, grid]."""
    shares = torch.zeros(len(image_ids), most, grid, grid)
    for place, image_id in enumerate(image_ids):
        letterbox = data.reader.letterbox(image_id)
        squares = np.stack([letterbox.mask_to_input(mask) for mask in data.masks(image_id)])
        shares[place, : len(squares)] = F.adaptive_avg_pool2d(torch.from_numpy(squares)[None], grid)[0]
    return shares


if __name__ == "__main__":
    run_stage(pretrain_mask_head)
