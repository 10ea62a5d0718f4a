"""Images turned left to right in training, with their boxes, and with the words that name a side."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from deixis.training.draws import drawn_rows
from deixis.types import StudentBatch

SIDES = (("left", "right"), ("leftmost", "rightmost"))


def mirrored_words(vocabulary: Sequence[str]) -> Int[Tensor, " words"]:
    """Id of what each word becomes: sides change places, other words stay. A side that nobody named is unknown.

    Whole words alone: TransVG's release also turns "bright" into "bleft".
    """
    index = {word: position for position, word in enumerate(vocabulary)}
    ids = torch.arange(len(vocabulary))
    for pair in SIDES:
        for word, other in (pair, pair[::-1]):
            if word in index:
                ids[index[word]] = index.get(other, index["[UNK]"])
    return ids


def mirror(batch: StudentBatch, words: Int[Tensor, " words"], *, share: float) -> StudentBatch:
    """A random share of the images turned left to right, with boxes and masks."""
    assert batch.boxes_norm is not None and batch.candidates is None
    turned = (drawn_rows(len(batch.squares), torch.rand) < share).to(batch.squares.device)
    content, side = batch.content_xyxy, batch.squares.shape[-1]
    left, top, right, bottom = content.unbind(1)
    content = torch.where(turned[:, None], torch.stack([side - right, top, side - left, bottom], 1), content)
    boxes, phrases = batch.boxes_norm.clone(), turned[batch.image_of]
    boxes[phrases, 0] = 1 - boxes[phrases, 0]
    masks = batch.masks
    if masks is not None:
        masks = torch.where(phrases[:, None, None], masks.flip(-1), masks)
    return replace(
        batch,
        squares=torch.where(turned[:, None, None, None], batch.squares.flip(-1), batch.squares),
        content_xyxy=content,
        tokens=torch.where(phrases[:, None], words[batch.tokens], batch.tokens),
        boxes_norm=boxes,
        masks=masks,
        memory=batch.memory and batch.memory.views(turned.long(), of=2),
    )
