"""How well each candidate box fits the location words of its phrase, and what weight that has beside its look.

Positions are shares of the image: 0 is the left or top edge, 1 the right or bottom one. Location scores lie about in
[-0.5, 0.5], higher is better; a phrase without location words scores 0 everywhere. Look scores are log-plausibilities:
0 for the most plausible candidate of a phrase, less for the others.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from deixis.boxes import paired_iou
from deixis.language.location_words import LocationWords

MATCH_SHARE = 0.35  # weight of the teacher's match, in spreads within the image, beside the detector's category
OBJECT_SHARE = 0.5  # weight of the logarithm of objectness beside it
KIND_SHARPNESS = 4.0  # match spreads to logits, for guessing the category that the phrase names
SURE = 0.03  # probability that a candidate is of the named kind, or is an object, whatever the detector says
WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
SAME_OBJECT = 0.5  # IoU from which two candidates count as one thing
SOFT = 0.05  # share of the image by which one centre must pass another to be surely beyond it
NEAR = 0.25  # share of the image between centres that still count as next to each other


def look_scores(
    match: Float[Tensor, "phrases candidates"],
    objectness: Float[Tensor, "phrases candidates"],
    classes: Float[Tensor, "phrases candidates classes"],
    named: Float[Tensor, "phrases classes"],
) -> Float[Tensor, "phrases candidates"]:
    """How plausible each candidate is by its look alone.

    "The left star" is the leftmost of the stars, so what counts beside the match is which candidates are stars. The
    detector tells categories apart; which of them a phrase names, the best matching candidates say, over all phrases
    that read the same.

    Args:
        named: Shares of the categories that each phrase names beside its place: of `named_kinds`, the mean over them.
    """
    is_kind = torch.einsum("pk,pck->pc", named, _shares(classes))
    looks = MATCH_SHARE * _relative(match) + (is_kind + SURE).log() + OBJECT_SHARE * (objectness + SURE).log()
    return looks - looks.amax(1, keepdim=True)


def named_kinds(
    match: Float[Tensor, "phrases candidates"], classes: Float[Tensor, "phrases candidates classes"]
) -> Float[Tensor, "phrases classes"]:
    """Shares of the detector's categories in each phrase's best matching candidates."""
    return torch.einsum("pc,pck->pk", (KIND_SHARPNESS * _relative(match)).softmax(1), _shares(classes))


def _relative(match: Tensor) -> Tensor:
    """How many spreads each candidate lies below the best of its phrase."""
    return (match - match.amax(1, keepdim=True)) / match.std(1, keepdim=True).clamp(min=1e-6)


def _shares(classes: Tensor) -> Tensor:
    return classes / classes.sum(-1, keepdim=True).clamp(min=1e-6)


def choose_location_weight(
    looks: Float[Tensor, "phrases candidates"],
    place: Float[Tensor, "phrases candidates"],
    boxes: Float[Tensor, "phrases candidates 4"],
) -> tuple[float, dict[float, float]]:
    """The weight of place beside look, from phrases and candidates alone.

    A location word and its opposite ("left", "right") must lead to different objects, and both must still look like
    what the phrase names. Too small a weight fails the first, too large a one the second; the best of `WEIGHTS` is
    taken.

    Returns:
        The weight, and for every weight its separation.
    """
    separation = dict(zip(WEIGHTS, separations(looks, place, boxes), strict=True))
    return best_weight(separation), separation


def best_weight(separation: Mapping[float, float]) -> float:
    """The weight that parts phrases from their opposites best; the smallest of equal ones."""
    return max(WEIGHTS, key=lambda weight: separation[weight])


def separations(
    looks: Float[Tensor, "phrases candidates"],
    place: Float[Tensor, "phrases candidates"],
    boxes: Float[Tensor, "phrases candidates 4"],
) -> list[float]:
    """For every weight, the mean plausibility of the phrases' two answers where they differ, in [0, 1]."""
    return [_separation(looks, place, boxes, weight) for weight in WEIGHTS]


def _separation(looks: Tensor, place: Tensor, boxes: Tensor, weight: float) -> float:
    row = torch.arange(len(looks))
    stated, opposite = ((looks + sign * weight * place).argmax(1) for sign in (1, -1))
    differ = paired_iou(boxes[row, stated], boxes[row, opposite]) < SAME_OBJECT
    plausible = ((looks[row, stated] + looks[row, opposite]) / 2).exp()
    return float((plausible * differ).mean())


def location_scores(
    words: Sequence[LocationWords],
    boxes: Float[Tensor, "phrases candidates 4"],
    match: Float[Tensor, "phrases candidates"],
    landmark_match: Float[Tensor, "phrases candidates"],
) -> Float[Tensor, "phrases candidates"]:
    """Score every candidate of every phrase.

    Args:
        boxes: Corners, as shares of the image.
        match: How well each candidate looks like what the phrase names, as logits; says which candidates count for
            "second from the left".
        landmark_match: The same for the phrase's landmark; rows of phrases without one are not read.
    """
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    along = _along(words, boxes, centre)
    to_middle = 0.5 - (centre - 0.5).abs().sum(-1)
    is_middle = torch.tensor([word.is_middle for word in words])[:, None]
    rank = torch.tensor([word.rank for word in words])[:, None]
    has_landmark = torch.tensor([bool(word.landmark) for word in words])[:, None]
    scores = along + torch.where(is_middle, to_middle, 0.0)
    scores = torch.where(rank > 0, rank_scores(along, boxes, match, rank), scores)
    bearing = torch.tensor([word.bearing or (0, 0) for word in words], dtype=boxes.dtype)
    return scores + torch.where(has_landmark, relation_scores(centre, boxes, landmark_match, bearing), 0.0)


def _along(words: Sequence[LocationWords], boxes: Tensor, centre: Tensor) -> Float[Tensor, "phrases candidates"]:
    """How far each candidate lies in the direction that its phrase says, depth included."""
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1).sqrt()
    direction = torch.tensor([word.direction or (0, 0) for word in words], dtype=boxes.dtype)
    depth = torch.tensor([word.depth for word in words], dtype=boxes.dtype)
    along = ((centre - 0.5) * direction[:, None]).sum(-1) / direction.abs().sum(-1, keepdim=True).clamp(min=1)
    return along + depth[:, None] * ((boxes[..., 3] + size) / 2 - 0.5)


def rank_scores(
    along: Float[Tensor, "phrases candidates"],
    boxes: Float[Tensor, "phrases candidates 4"],
    match: Float[Tensor, "phrases candidates"],
    rank: Tensor,
) -> Float[Tensor, "phrases candidates"]:
    """Closeness of each candidate's rank along a direction to the rank that was said.

    A candidate's rank is one plus the things further along that look at least as fitting as it does; less
    fitting ones count in proportion, and several candidates of one thing count once.
    """
    same = _overlap(boxes) > SAME_OBJECT
    share = 1 / same.float().sum(-1)
    likeness = (match[:, None] - match[:, :, None]).clamp(max=0).exp()  # of other (last) with respect to one
    further = (along[:, None] > along[:, :, None]) & ~same
    place = 1 + (further * likeness * share[:, None]).sum(-1)
    return (0.5 - (place - rank).abs()).clamp(min=-0.5)


def relation_scores(
    centre: Float[Tensor, "phrases candidates 2"],
    boxes: Float[Tensor, "phrases candidates 4"],
    landmark_match: Float[Tensor, "phrases candidates"],
    bearing: Float[Tensor, "phrases 2"],
) -> Float[Tensor, "phrases candidates"]:
    """How surely each candidate lies in direction `bearing` from the landmark, or near it where that is zero."""
    gap = centre[:, :, None] - centre[:, None]  # from each candidate landmark (last) to each candidate
    beyond = ((gap * bearing[:, None, None]).sum(-1) / SOFT).sigmoid()
    beside = torch.exp(-gap.norm(dim=-1) / NEAR)
    fits = torch.where(bearing.any(-1)[:, None, None], beyond, beside)
    fits = fits.masked_fill(_overlap(boxes) > SAME_OBJECT, 0.0)  # nothing lies beside itself
    return torch.einsum("pcl,pl->pc", fits, landmark_match.softmax(-1)) - 0.5


def _overlap(boxes: Float[Tensor, "phrases candidates 4"]) -> Float[Tensor, "phrases candidates candidates"]:
    count = boxes.shape[1]
    one = boxes[:, :, None].expand(-1, -1, count, -1)
    return paired_iou(one, one.transpose(1, 2))
