"""What PCNet asks of a response map through mask proposals: to grow less ambiguous, and to leave others their objects.

A proposal's score for a map is the highest response inside it. The regions of a map are the best proposal and the union
of the others. Zero masks pad the proposals of an image and never win. Source: PCNet sections 3.3 and 3.4; the forms of
the release differ.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from deixis.types import MapBatch

Compat = Literal["paper", "released", "fixed"]
EPS = 1e-5


def relative(maps: Float[Tensor, "phrases places"]) -> Float[Tensor, "phrases places"]:
    """Responses above zero over the map's maximum, which carries no gradient: else the peak could not move."""
    positive = maps.clamp(min=0)
    return positive / (positive.detach().amax(-1, keepdim=True) + EPS)


class Proposals(NamedTuple):
    """Mask proposals, as each phrase of a batch weighs those of its image.

    Attributes:
        inside: Zero masks are padding.
        outside: 0 inside and minus infinity elsewhere, so that a sum leaves a map its responses inside.
        area: Places of each; padding has none.
    """

    inside: Bool[Tensor, "phrases proposals places"]
    outside: Float[Tensor, "phrases proposals places"]
    area: Int[Tensor, "phrases proposals"]


def proposals_of(inside: Bool[Tensor, "phrases proposals places"]) -> Proposals:
    """What of the masks every stage asks for."""
    outside = torch.zeros(inside.shape, device=inside.device).masked_fill_(~inside, -torch.inf)
    return Proposals(inside, outside, inside.sum(-1))


def proposal_scores(
    maps: Float[Tensor, "phrases places"],
    proposals: Proposals,
    *,
    reduce: Literal["max", "mean"] = "max",
    padding: float = 0.0,
) -> Float[Tensor, "phrases proposals"]:
    """Highest (or mean) response inside each proposal; `padding` for proposals without a place."""
    if reduce == "max":
        # where each proposal's highest response is, then that place alone: half the work of a masked maximum's gradient
        peaks = (maps.detach()[:, None] + proposals.outside).argmax(-1)
        scores = maps.gather(1, peaks)
    else:
        shares = proposals.inside / proposals.area.clamp(min=1)[..., None]
        scores = (shares @ maps[..., None]).squeeze(-1)
    return torch.where(proposals.area > 0, scores, padding)


def best_proposal(
    scores: Float[Tensor, "phrases proposals"], area: Int[Tensor, "phrases proposals"]
) -> Int[Tensor, " phrases"]:
    """The proposal with the highest score; of equals the smallest, since all that contain the peak are equal.

    Args:
        area: Places of each proposal; padding has none.
    """
    tied = (scores >= scores.amax(1, keepdim=True) - EPS) & (area > 0)
    return torch.where(tied, area, area.amax() + 1).argmin(1)


def soft_iou(
    maps: Float[Tensor, "*n places"], masks: Float[Tensor, "*n places"] | Bool[Tensor, "*n places"]
) -> Float[Tensor, " *n"]:
    """Intersection over union of a map in [0, 1] with a mask; 0 where both are empty."""
    shared = (maps * masks).sum(-1)
    union = maps.sum(-1) + masks.sum(-1) - shared
    return shared / union.clamp(min=EPS)


class Regions(NamedTuple):
    """A map's own object and everything else that was proposed."""

    foreground: Bool[Tensor, "phrases places"]
    background: Bool[Tensor, "phrases places"]


def split_regions(best: Int[Tensor, " phrases"], inside: Bool[Tensor, "phrases proposals places"]) -> Regions:
    """The best proposal, and the union of all others without it."""
    row = torch.arange(len(best), device=best.device)
    foreground = inside[row, best]
    return Regions(foreground, inside.any(1) & ~foreground)


def ambiguity(maps: Float[Tensor, "phrases places"], regions: Regions) -> Float[Tensor, " phrases"]:
    """1 minus how much better the map fits its foreground than its background: from 0 to 2, 1 where it says nothing."""
    return 1 - (soft_iou(maps, regions.foreground) - soft_iou(maps, regions.background))


def shrinking_loss(ambiguities: Sequence[Float[Tensor, " phrases"]]) -> Float[Tensor, ""]:
    """Region-aware shrinking: how much each stage is more ambiguous than the one before it, which is held fixed.

    Were the earlier stage not held fixed, making it worse would lower the loss, too.
    """
    rises = [(after - before.detach()).clamp(min=0) for before, after in pairwise(ambiguities)]
    return torch.stack(rises).mean() if rises else ambiguities[0].new_zeros(())


def half_dice(maps: Float[Tensor, "*#n places"], masks: Bool[Tensor, "*#n places"]) -> Float[Tensor, "*n"]:
    """What the release takes for IoU: 0.5 where map and mask are one."""
    return (maps * masks).sum(-1) / (maps.sum(-1) + masks.sum(-1) + EPS)


def released_shrinking(
    foreground: Sequence[Float[Tensor, " phrases"]], background: Sequence[Float[Tensor, " phrases"]], *, stage: int
) -> dict[str, Float[Tensor, ""]]:
    """The release's form, from each stage's fit to foreground and background.

    Returns:
        `shrinking`: from one stage to the next the fit to the background should fall; `anchor`: the fit to the
        foreground should be high at every stage.
    """
    shrink = 1 - (background[stage] - background[stage + 1])
    return {"shrinking": shrink.mean(), "anchor": (1 - torch.stack(list(foreground))).mean()}


def one_hot(scores: Float[Tensor, "*n proposals"], winner: Int[Tensor, " *n"]) -> Float[Tensor, "*n proposals"]:
    """Which proposal wins; its gradient is passed straight through to the scores."""
    hard = F.one_hot(winner, scores.shape[-1]).to(scores.dtype)
    return hard + scores - scores.detach()


def likeness(one: Float[Tensor, "pairs proposals"], other: Float[Tensor, "pairs proposals"]) -> Float[Tensor, " pairs"]:
    """1 minus the divergence between two phrases' shares over all proposals: 1 where they are equal, 0 where disjoint.

    The divergence is Jensen and Shannon's, in bits: the mean of both KL divergences from the middle. As code that is
    switched off in PCNet's release; a KL divergence between the two themselves has no bound to push towards.
    """
    entropy_one, entropy_other, entropy_middle = (
        -(p * p.clamp(min=EPS).log2()).sum(-1) for p in (one, other, (one + other) / 2)
    )
    return 1 - (entropy_middle - (entropy_one + entropy_other) / 2)


def collisions(
    one: Float[Tensor, "pairs proposals"],
    other: Float[Tensor, "pairs proposals"],
    winners: tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]],
    *,
    compat: Compat = "fixed",
) -> Float[Tensor, " pairs"]:
    """Instance-aware disambiguation: high where two phrases about different objects win the same proposal.

    The winners are `best_proposal`'s: a proposal that holds both objects scores as high as each object's own, and two
    phrases that are right would collide in it for ever. `fixed` is the inner product, 1 or 0; at a collision it lowers
    both scores of the proposal in question. `paper` is 1 minus the squared distance, 1 or -1, and `released` 1 minus
    half the absolute one, 1 or 0: at a collision their gradient is zero, so they act where nothing is wrong any more.
    """
    one, other = one_hot(one, winners[0]), one_hot(other, winners[1])
    if compat == "paper":
        return 1 - (one - other).square().sum(-1)
    if compat == "released":
        return 1 - (one - other).abs().sum(-1) / 2
    return (one * other).sum(-1)


def pairs_of_objects(batch: MapBatch, *, most: int | None) -> tuple[Tensor, Tensor]:
    """Rows of phrases about different objects of one image that has proposals, each pair once, and `most` of them.

    Never two that read the same: their maps are one, whatever they are about.
    """
    assert batch.proposals is not None
    has_proposals = batch.proposals.flatten(1).any(1)[batch.image_of]
    same_image = (batch.image_of[:, None] == batch.image_of) & has_proposals
    differ = batch.group_of[:, None] != batch.group_of
    reads_same = (batch.tokens[:, None] == batch.tokens).all(-1)
    one, other = (same_image & differ & ~reads_same).triu(1).nonzero(as_tuple=True)
    if most is None:
        return one, other
    image = batch.image_of[one]
    earlier = (image[:, None] == image).tril(-1).sum(1)
    return one[earlier < most], other[earlier < most]
