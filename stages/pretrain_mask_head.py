"""Train a mask head on the frozen detector, on masks of the detection split: no phrase, no category.

reads   the pretraining folder, the detector; params: seed, mask_heads
writes  model.safetensors, config.json, training_images.parquet
run     dvc repro pretrain_mask_head@prototype_masks, with prototype_masks under run.mask_heads in params.yaml
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.records import write_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.datasets.pretraining import PretrainingSet
from deixis.training.fit import Recipe, fit
from models.detectors.prototype_masks import GROWTH, PrototypeMasks, PrototypeMasksConfig, mask_head_loss
from models.frozen.detectors import load_detector


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
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    frozen = load_detector(detector, hardware)
    side = frozen.input_size
    stride = frozen.strides[2] / GROWTH  # pixels of the input per pixel of the prototypes
    data = PretrainingSet(pretraining, side=side)
    objects = data.objects()
    model = PrototypeMasks(config.model).to(hardware)
    steps = len(data.image_ids) // config.recipe.batch_size

    def batches(epoch: int):
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(data.image_ids), generator=generator)
        for rows in order[: steps * config.recipe.batch_size].split(config.recipe.batch_size):
            ids = [data.image_ids[row] for row in rows]
            squares, boxes = data.reader.squares(ids), objects.boxes_xyxy[rows].clone()
            masks = covered_shares(data, ids, most=boxes.shape[1], grid=round(side / stride))
            if torch.rand((), generator=generator) < 0.5:
                squares, masks = squares.flip(3), masks.flip(3)
                boxes[..., [0, 2]] = side - boxes[..., [2, 0]]
            with torch.no_grad():
                found = frozen.detect(squares.to(hardware))
            known = (tensor.to(hardware) for tensor in (boxes / stride, masks, objects.valid[rows]))
            yield found.maps, cxcywh_to_xyxy(found.boxes[..., :4]) / stride, *known

    facts = fit(
        model,
        lambda batch: mask_head_loss(model, *batch),
        batches,
        steps_per_epoch=steps,
        recipe=config.recipe,
        device=hardware,
        scratch=Path("scratch/pretrain_mask_head")
        / run_key(config, seed, pretraining / "instances.json", detector / "model.safetensors"),
    )
    save_checkpoint(model, out, config={"model": asdict(config.model), "labels": "mask", "training": facts})
    write_table(pd.DataFrame({"image_id": data.image_ids}), out / "training_images.parquet")


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
