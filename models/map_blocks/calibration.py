"""TRIS's calibration: from what a phrase's response map leaves of the image, a frozen model must know the phrase."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from deixis.training.draws import drawn
from deixis.training.ranks import gathered, own_share
from deixis.types import MapBatch
from models.experts.contrastive_vit import CLIP_MEAN
from models.image_text.judges import ImageText

FLOOR, CEILING = 1e-4, 0.9999


def positive_term(cosines: Float[Tensor, " phrases"]) -> Float[Tensor, ""]:
    """Minus log of the cosine of each masked image with its own phrase, clipped."""
    return -cosines.clamp(FLOOR, CEILING).log().mean()


def negative_term(
    cosines: Float[Tensor, "phrases others"], *, reduction: Literal["mean", "sum"] = "mean"
) -> Float[Tensor, ""]:
    """Minus log of one minus the cosine with each phrase about another object of the same image; 0 of no phrase."""
    if not len(cosines):
        return cosines.sum()  # zero, with a gradient to nobody
    terms = -(1 - cosines).log()
    return (terms.sum(1) if reduction == "sum" else terms.mean(1)).mean()


def select_maps(
    cosines: Float[Tensor, "phrases phrases"], group_of: Int[Tensor, " phrases"]
) -> Int[Tensor, " phrases"]:
    """PRMS: of all phrases about one object, the one whose map the frozen model recognises best, for all of them.

    Args:
        cosines: Of each phrase's masked image (rows) with each phrase (columns).
        group_of: Number of the object of each phrase.

    Returns:
        For every phrase, the phrase whose map to use.
    """
    same = group_of[:, None] == group_of
    total = (cosines * same).sum(1)
    return total.expand_as(cosines).masked_fill(~same, -torch.inf).argmax(1)


def masked_images(
    maps: Float[Tensor, "phrases h w"],
    squares: UInt8[Tensor, "images 3 side side"],
    image_of: Int[Tensor, " phrases"],
) -> Float[Tensor, "phrases 3 side side"]:
    """Each phrase's image through its map's sigmoid; what the map leaves out turns into the mean colour."""
    soft = F.interpolate(maps[:, None], size=squares.shape[-2:], mode="bilinear").sigmoid()
    mean = 255 * torch.tensor(CLIP_MEAN, device=maps.device).view(3, 1, 1)
    return mean + soft * (squares.index_select(0, image_of).float() - mean)


def masked_cosines(
    judge: ImageText, maps: Float[Tensor, "phrases h w"], batch: MapBatch
) -> Float[Tensor, "phrases phrases"]:
    """How well the frozen model knows each phrase (columns) from what the map of each (rows) leaves of its image.

    Of several processes that have the same maps and batch, each looks at a part of them.
    """
    left = masked_images(own_share(maps), batch.squares, own_share(batch.image_of))
    return gathered(judge.images(left)) @ judge.texts(batch.tokens).T


class Negatives(NamedTuple):
    """For each phrase, the phrases that its masked image must not say, and whether there are any."""

    picked: Int[Tensor, "phrases count"]
    exists: Bool[Tensor, " phrases"]


def draw_negatives(
    tokens: Int[Tensor, "phrases length"],
    image_of: Int[Tensor, " phrases"],
    group_of: Int[Tensor, " phrases"],
    *,
    count: int,
) -> Negatives:
    """For each phrase, others about other objects of its image, with replacement; of other images if there are none.

    Never one that reads the same, whatever it is about: the image that says this one says that one, too.
    """
    reads_same = (tokens[:, None] == tokens).all(-1)
    same_image = image_of[:, None] == image_of
    other_object = group_of[:, None] != group_of
    preferred = same_image & other_object & ~reads_same
    alone = ~preferred.any(1, keepdim=True)
    allowed = torch.where(alone, ~same_image & ~reads_same, preferred)
    exists = allowed.any(1)
    odds = allowed.float()
    odds[~exists] = 1.0  # something must be drawn; `exists` says that it counts for nothing
    return Negatives(drawn(lambda: torch.multinomial(odds, count, replacement=True)), exists)
