"""Help for students of few images: in training each is turned left to right, or put elsewhere on its canvas.

Of each image there are a few such views, always the same, so that what a frozen backbone makes of them can be kept.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Int
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.core.config import STRICT
from deixis.training.draws import drawn_rows
from deixis.types import StudentBatch
from models.student_blocks.mirror import mirror
from models.student_blocks.one_stage import OneStageConfig
from models.student_blocks.placing import Placing, few_placings, place_boxes, place_masks, place_squares


@dataclass(frozen=True, config=STRICT)
class VariedConfig(OneStageConfig):
    """What makes the most of few images. By default none of it, as published."""

    mirror_share: float = 0.0  # of the images; left and right then change places in the phrase
    placings: NonNegativeInt = 0  # of an image on its canvas, of which one is drawn each time; 0: it stays in its place
    scale_range: tuple[float, float] = (0.8, 1.0)  # of an image that is placed: its new side over the canvas's
    weight_choice: float = 0.0  # of a term in which cells compete for the target's centre

    @property
    def choice(self) -> dict[str, float]:
        """Factor of that term, where there is one."""
        return {"choice": self.weight_choice} if self.weight_choice else {}


def varied(batch: StudentBatch, words: Int[Tensor, " words"], config: VariedConfig) -> StudentBatch:
    """The batch with a view of each image, with its boxes, masks and the words of its phrases.

    Args:
        words: What each word becomes when an image is turned.
    """
    if config.mirror_share:
        batch = mirror(batch, words, share=config.mirror_share)
    return _placed(batch, config) if config.placings else batch


def viewer(config: VariedConfig) -> Callable[[Tensor, int], Tensor]:
    """Shows squares of images in the view of a number, as `varied` counts them."""

    def show(squares: Tensor, view: int) -> Tensor:
        turned, number = divmod(view, max(1, config.placings))
        squares = squares.flip(-1) if turned else squares
        if not config.placings:
            return squares
        placing = few_placings(config.placings, config.scale_range)[torch.full((len(squares),), number)]
        return _levels(squares, placing.to(squares.device))

    return show


def _placed(batch: StudentBatch, config: VariedConfig) -> StudentBatch:
    assert batch.boxes_norm is not None and batch.candidates is None
    drawn = drawn_rows(len(batch.squares), lambda images: torch.randint(config.placings, (images,)))
    placing = few_placings(config.placings, config.scale_range)[drawn].to(batch.squares.device)
    side = batch.squares.shape[-1]
    content, boxes = place_boxes(batch.content_xyxy, batch.boxes_norm, batch.image_of, placing, side=side)
    masks = None if batch.masks is None else place_masks(batch.masks, batch.image_of, placing)
    placed = replace(batch, content_xyxy=content, boxes_norm=boxes, masks=masks)
    if batch.memory is not None and config.frozen_backbone:  # which looks at the squares of a view by itself
        return replace(placed, memory=batch.memory.views(drawn, of=config.placings))
    return replace(placed, squares=_levels(batch.squares, placing))


def _levels(squares: Tensor, placing: Placing) -> Tensor:
    return place_squares(squares, placing).round().to(torch.uint8)
