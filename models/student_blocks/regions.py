"""Where regions lie, in themselves and among their neighbours, as MAttNet counts it; and which others contrast."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from deixis.training.draws import drawn
from deixis.training.ranks import gathered, gathered_numbers

# How soon negatives of the same category, of another category and of another image are taken, without and with luck.
TIER_RANKS = ((2, 0, 1), (0, 1, 2))


def location(boxes_xyxy: Float[Tensor, "regions 4"], content_xyxy: Float[Tensor, "regions 4"]) -> Tensor:
    """[regions, 5]: left, top, right, bottom and area as shares of the image.

    Right and bottom are the last pixel inside the box, as published.

    Args:
        content_xyxy: Where each region's image lies, in the same frame.
    """
    origin, size = content_xyxy[:, :2], content_xyxy[:, 2:] - content_xyxy[:, :2]
    low, high = (boxes_xyxy[:, :2] - origin) / size, (boxes_xyxy[:, 2:] - 1 - origin) / size
    area = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / size).prod(1, keepdim=True)
    return torch.cat([low, high, area], 1)


def offsets(boxes_xyxy: Float[Tensor, "*n 4"], others_xyxy: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 5"]:
    """Corners of another box as seen from the middle of a box, in its widths and heights, and the ratio of areas."""
    size = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    middle = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2
    corners = (others_xyxy - torch.cat([middle, middle], -1)) / torch.cat([size, size], -1)
    other_size = others_xyxy[..., 2:] - others_xyxy[..., :2]
    return torch.cat([corners, (other_size.prod(-1) / size.prod(-1))[..., None]], -1)


class Neighbours(NamedTuple):
    """Other regions of each region's image, nearest first, by number; `valid` is false where there are no more."""

    region: Int[Tensor, "regions count"]
    valid: Bool[Tensor, "regions count"]


def neighbours(
    boxes_xyxy: Float[Tensor, "regions 4"],
    image: Int[Tensor, " regions"],
    category: Int[Tensor, " regions"],
    *,
    count: int,
    same_category_only: bool,
) -> Neighbours:
    """Up to `count` nearest regions by the distance of their middles.

    Args:
        same_category_only: Only regions of the same category (the location module); otherwise all, those of another
            category before those of the same (the relation module).
    """
    middle = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    distance = (middle[:, None] - middle).norm(dim=-1)
    number = torch.arange(len(image), device=image.device)
    eligible = (image[:, None] == image) & (number[:, None] != number)
    same = category[:, None] == category
    if same_category_only:
        eligible &= same
    else:
        distance = distance + same * (1 + distance.amax())
    nearest = distance.masked_fill(~eligible, torch.inf).sort(dim=1, stable=True)
    index, valid = nearest.indices[:, :count], nearest.values[:, :count].isfinite()
    lacking = (0, count - index.shape[1])
    return Neighbours(F.pad(index, lacking), F.pad(valid, lacking))


class Objects(NamedTuple):
    """What phrases or regions are about: numbers of images, categories and regions."""

    image: Int[Tensor, " objects"]
    category: Int[Tensor, " objects"]
    region: Int[Tensor, " objects"]


class Regions(NamedTuple):
    """The valid candidates of a batch, one after the other."""

    objects: Objects
    middle: Float[Tensor, "regions cells middle_width"]
    coarse: Float[Tensor, "regions cells coarse_width"]
    location: Float[Tensor, "regions 5"]
    around: Float[Tensor, "regions around"]  # offsets of neighbours of the same category, 0 where there are no more
    context: Int[Tensor, "regions neighbours"]  # numbers of regions
    context_valid: Bool[Tensor, "regions neighbours"]
    context_offsets: Float[Tensor, "regions neighbours 5"]


def gathered_regions(regions: Regions, about: Objects, *, images: int) -> tuple[Regions, Objects]:
    """Regions of all processes, and what all their phrases are about, numbered through.

    Args:
        about: Of this process's phrases.
        images: How many this process has.
    """
    count = len(regions.objects.region)

    def numbered(objects: Objects) -> Objects:
        image, region = gathered_numbers(objects.image, images), gathered_numbers(objects.region, count)
        return Objects(image, gathered(objects.category), region)

    all_regions = gathered(regions)
    context = gathered_numbers(regions.context, count)
    return all_regions._replace(objects=numbered(regions.objects), context=context), numbered(about)


class Negatives(NamedTuple):
    """One wrong partner for each object, by its place in the pool; `exists` is false where there is none."""

    place: Int[Tensor, " objects"]
    exists: Bool[Tensor, " objects"]


def draw_negatives(
    objects: Objects, pool: Objects, *, same_category_share: float, usable: Bool[Tensor, " pool"] | None = None
) -> Negatives:
    """For each object a random member of the pool that is about another region.

    From the same image and category with the given probability, else from the same image and another category, else
    from another image; what is not to be had gives way to the next. The published fallback is the whole training set;
    here it is the batch.
    """
    other = objects.region[:, None] != pool.region
    if usable is not None:
        other = other & usable
    near = objects.image[:, None] == pool.image
    alike = objects.category[:, None] == pool.category
    tiers = torch.stack([near & alike, near & ~alike, ~near]) & other
    alike_first = drawn(lambda: torch.rand(len(objects.image), device=near.device)) < same_category_share
    ranks = torch.tensor(TIER_RANKS, device=near.device)[alike_first.long()].T
    tier = (ranks + 3 * ~tiers.any(2)).argmin(0)
    chosen = tiers[tier, torch.arange(len(tier), device=tier.device)]
    exists = chosen.any(1)
    odds = chosen.float()
    odds[~exists, 0] = 1.0
    return Negatives(drawn(lambda: odds.multinomial(1)).squeeze(1), exists)


def region_numbers(valid: Bool[Tensor, "images candidates"]) -> Int[Tensor, "images candidates"]:
    """Number of each valid candidate among all valid ones, row by row."""
    return (valid.flatten().long().cumsum(0) - 1).view_as(valid)
