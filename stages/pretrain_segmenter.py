"""Train the promptable segmenter on the detection split: class-agnostic masks, no phrase, no category.

reads   the pretraining folder; params: seed, segmenter
writes  the segmenter's folder, and its image encoder alone as the expert `segmentation_vit`
run     dvc repro pretrain_segmenter
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.records import write_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.datasets.pretraining import PretrainingSet
from deixis.training.fit import Recipe, fit
from models.blocks.build_sam import SmallSAMConfig
from models.experts.segmentation_vit import SegmentationViT
from models.segmenters.sam_objective import TERM_WEIGHTS, mask_terms
from models.segmenters.small_sam import SmallSAM


@dataclass(frozen=True, config=STRICT)
class SegmenterParams:
    """The `segmenter` section."""

    model: SmallSAMConfig
    recipe: Recipe
    prompts_per_image: int


def pretrain_segmenter(
    *, pretraining: Path, out: Path, expert_out: Path, params: Path = Path("params.yaml"), device: Device = "auto"
) -> None:
    """Train the segmenter on class-agnostic masks of the detection split."""
    config = read_section(params, "segmenter", SegmenterParams)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    data = PretrainingSet(pretraining, side=config.model.input_size)
    model = SmallSAM(config.model).to(hardware)
    steps = len(data.image_ids) // config.recipe.batch_size

    def batches(epoch: int):
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(data.image_ids), generator=generator)
        for rows in order[: steps * config.recipe.batch_size].split(config.recipe.batch_size):
            ids = [data.image_ids[row] for row in rows]
            drawn = [_draw(data, image_id, config, generator) for image_id in ids]
            images, masks, boxes = (torch.stack(parts).to(hardware) for parts in zip(*drawn, strict=True))
            yield images, masks, boxes, generator

    facts = fit(
        model,
        lambda batch: mask_terms(model, *batch),
        batches,
        steps_per_epoch=steps,
        recipe=config.recipe,
        device=hardware,
        scratch=Path("scratch/pretrain_segmenter") / run_key(config, seed, pretraining / "instances.json"),
        weights=TERM_WEIGHTS,
    )
    expert = SegmentationViT(config.model)
    expert.image_encoder.load_state_dict(model.sam.image_encoder.state_dict())
    for module, folder in ((model, out), (expert, expert_out)):
        save_checkpoint(module, folder, config={"model": asdict(config.model), "labels": "mask", "training": facts})
        write_table(pd.DataFrame({"image_id": data.image_ids}), folder / "training_images.parquet")


def _draw(
    data: PretrainingSet, image_id: int, config: SegmenterParams, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, masks and boxes of some objects, padded to the square at right and bottom, as the predictor pads."""
    side = config.model.input_size
    pixels, masks = data.reader.pixels(image_id), data.masks(image_id)
    if max(pixels.shape[:2]) != side:
        raise ValueError(f"image {image_id} is {pixels.shape[:2]}; pretraining pictures have a long side of {side}")
    chosen = torch.randint(len(masks), (config.prompts_per_image,), generator=generator).tolist()
    picture = np.zeros((side, side, 3), np.float32)
    picture[: pixels.shape[0], : pixels.shape[1]] = pixels
    squares = np.zeros((len(chosen), side, side), np.float32)
    for row, index in enumerate(chosen):
        squares[row, : pixels.shape[0], : pixels.shape[1]] = masks[index]
    return torch.from_numpy(picture).permute(2, 0, 1), torch.from_numpy(squares), boxes_of(squares)


def boxes_of(masks: np.ndarray) -> Tensor:
    """Tight boxes of masks [n, h, w], right and bottom exclusive."""
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return torch.tensor(boxes, dtype=torch.float32)


if __name__ == "__main__":
    run_stage(pretrain_segmenter)
