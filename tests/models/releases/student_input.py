"""Two images and three phrases about them, as a student reads them."""

import torch

from deixis.types import StudentBatch

IMAGE_OF = torch.tensor([0, 0, 1])


def student_input(side: int) -> StudentBatch:
    """Images of noise, without padding."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.zeros(3, 15, dtype=torch.long)
    for row, words in enumerate(([3, 4], [5, 6, 7, 8], [9])):
        tokens[row, : len(words)] = torch.tensor(words)
    return StudentBatch(
        squares=torch.randint(256, (2, 3, side, side), generator=generator, dtype=torch.uint8),
        content_xyxy=torch.tensor([[0.0, 0.0, side, side]] * 2),
        tokens=tokens,
        image_of=IMAGE_OF,
    )
