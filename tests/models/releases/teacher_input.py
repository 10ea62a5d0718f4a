"""What frozen encoders say of two images, and three phrases about them, in the grids of 416-pixel input."""

import torch
from torch import Tensor

from deixis.types import Detections, TeacherBatch

SIDES = (52, 26, 13)  # cells of the fine, middle and coarse map
IMAGE_OF = torch.tensor([0, 0, 1])


class StoredMaps:
    """Maps of frozen experts, by name."""

    def __init__(self, stored: dict[str, Tensor]) -> None:
        self.stored = stored

    def maps(self, expert: str, rows: Tensor) -> Tensor:
        return self.stored[expert][rows]


def teacher_input(channels: tuple[int, int, int], experts: dict[str, tuple[int, int]] | None = None) -> TeacherBatch:
    """A batch.

    Args:
        channels: Of the fine, middle and coarse map.
        experts: Width and cells a side of each expert's map.
    """
    generator = torch.Generator().manual_seed(1)
    fine, middle, coarse = (
        torch.randn(2, width, side, side, generator=generator) for width, side in zip(channels, SIDES, strict=True)
    )
    boxes = torch.rand(2, 169, 4, 85, generator=generator)
    boxes[..., :4] *= 200
    tokens = torch.zeros(3, 15, dtype=torch.long)
    for row, words in enumerate(([3, 4], [5, 6, 7, 8], [9])):
        tokens[row, : len(words)] = torch.tensor(words)
    stored = {
        name: torch.randn(2, width, side, side, generator=generator) for name, (width, side) in (experts or {}).items()
    }
    return TeacherBatch(tokens, IMAGE_OF, Detections((coarse, middle, fine), boxes), StoredMaps(stored))


def of_phrases(asked: TeacherBatch) -> tuple[list[Tensor], Tensor]:
    """Fine, middle and coarse map, and the boxes, of each phrase's image."""
    coarse, middle, fine = (x[asked.image_of] for x in asked.detections.maps)
    return [fine, middle, coarse], asked.detections.boxes[asked.image_of]
