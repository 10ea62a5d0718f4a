"""Train the promptable segmenter on the detection split: class-agnostic masks, no phrase, no category.

reads   the pretraining folder; params: seed, segmenter
writes  the segmenter's folder, and its image encoder alone as the expert `segmentation_vit`
run     dvc repro pretrain_segmenter
"""

from pathlib import Path

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.runtime import Device
from deixis.datasets.pretraining import PretrainingSet
from deixis.training.fit import Recipe
from models.blocks.build_sam import SmallSAMConfig
from models.experts.segmentation_vit import SegmentationViT
from models.segmenters.sam_objective import TERM_WEIGHTS, mask_terms
from models.segmenters.small_sam import SmallSAM
from training.pretraining import MakeBatch, Pretraining, open_pretraining


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
    run = open_pretraining(
        "pretrain_segmenter", pretraining, side=config.model.input_size, params=params, device=device
    )
    model = SmallSAM(config.model).to(run.device)

    facts = run.train(
        model,
        lambda batch: mask_terms(model, *batch),
        mask_batches(run, config),
        recipe=config.recipe,
        inputs=(config,),
        weights=TERM_WEIGHTS,
    )
    expert = SegmentationViT(config.model)
    expert.image_encoder.load_state_dict(model.sam.image_encoder.state_dict())
    for module, folder in ((model, out), (expert, expert_out)):
        run.save(module, folder, config=config.model, labels="mask", facts={"training": facts})


def mask_batches(run: Pretraining, config: SegmenterParams) -> MakeBatch:
    """Images with masks and boxes of some of their objects."""

    def make_batch(rows: Tensor, _: int, generator: torch.Generator) -> tuple[Tensor | torch.Generator, ...]:
        drawn = [_draw(run.data, image_id, config, generator) for image_id in run.data.ids_of(rows)]
        return *(torch.stack(parts).to(run.device) for parts in zip(*drawn, strict=True)), generator

    return make_batch


def _draw(
    data: PretrainingSet, image_id: int, config: SegmenterParams, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Image, masks and boxes of some objects, padded to the square at right and bottom, as the predictor pads."""
    side = config.model.input_size
    pixels, masks = data.reader.pixels(image_id), data.masks(image_id)
    if max(pixels.shape[:2]) != side:
        raise ValueError(f"image {image_id} is {pixels.shape[:2]}; pretraining images have a long side of {side}")
    chosen = torch.randint(len(masks), (config.prompts_per_image,), generator=generator).tolist()
    image = np.zeros((side, side, 3), np.float32)
    image[: pixels.shape[0], : pixels.shape[1]] = pixels
    squares = np.zeros((len(chosen), side, side), np.float32)
    for row, index in enumerate(chosen):
        squares[row, : pixels.shape[0], : pixels.shape[1]] = masks[index]
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(squares), boxes_of(squares)


def boxes_of(masks: np.ndarray) -> Tensor:
    """Tight boxes of masks [n, h, w], right and bottom exclusive."""
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return torch.tensor(boxes, dtype=torch.float32)


if __name__ == "__main__":
    run_stage(pretrain_segmenter)
