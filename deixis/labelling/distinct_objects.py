"""Phrases that name different objects of one image must not be given the same box.

Which phrases name one object is extra supervision (`ref_id`); whoever uses it says so.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from deixis.boxes import paired_iou
from deixis.labelling.location_scores import SAME_OBJECT


def candidate_things(boxes_xyxy: Float[Tensor, "candidates 4"]) -> Int[Tensor, " candidates"]:
    """Number of the thing that each candidate shows: that of the first earlier one which it overlaps, or its own."""
    count = len(boxes_xyxy)
    one = boxes_xyxy[:, None].expand(count, count, 4)
    same = paired_iou(one, one.transpose(0, 1)) >= SAME_OBJECT
    thing = torch.arange(count)
    for candidate in range(count):
        earlier = [other for other in range(candidate) if same[candidate, other] and thing[other] == other]
        if earlier:
            thing[candidate] = earlier[0]
    return thing


def assign_distinct(
    scores: Float[Tensor, "objects candidates"], things: Int[Tensor, " candidates"]
) -> Int[Tensor, " objects"]:
    """Each object's candidate, so that no two objects get one thing and the scores sum to the most.

    Where there are more objects than things, those left over keep their best candidate.

    Args:
        scores: On one scale for all objects.
    """
    from scipy.optimize import linear_sum_assignment  # half a second, which answers to single phrases need not pay

    numbers, of = torch.unique(things, return_inverse=True)
    best = torch.full((len(scores), len(numbers)), -torch.inf)
    best = best.scatter_reduce(1, of.expand_as(scores), scores, "amax")
    chosen = scores.argmax(1)
    objects, taken = linear_sum_assignment(best.numpy(), maximize=True)
    for thing, place in zip(objects, taken, strict=True):
        chosen[thing] = scores[thing].masked_fill(of != place, -torch.inf).argmax()
    return chosen


def choose_distinct(
    scores: Float[Tensor, "phrases candidates"],
    boxes_xyxy: Float[Tensor, "phrases candidates 4"],
    image_ids: Sequence[int],
    objects: Sequence[int],
) -> Int[Tensor, " phrases"]:
    """The candidate of every phrase, all phrases of an image together; phrases about one object answer with one voice.

    Scores are standardised within each phrase before they are summed over the phrases of an object.
    """
    spread = scores.std(1, keepdim=True).clamp(min=1e-6)
    relative = (scores - scores.mean(1, keepdim=True)) / spread
    chosen = torch.empty(len(scores), dtype=torch.long)
    names = np.asarray(objects)
    for rows in _groups(image_ids):
        groups_here, member = np.unique(names[rows], return_inverse=True)
        voice = torch.zeros(len(groups_here), scores.shape[1]).index_add_(0, torch.from_numpy(member), relative[rows])
        chosen[rows] = assign_distinct(voice, candidate_things(boxes_xyxy[rows[0]]))[torch.from_numpy(member)]
    return chosen


def _groups(image_ids: Sequence[int]) -> list[list[int]]:
    rows_of: dict[int, list[int]] = {}
    for row, image_id in enumerate(image_ids):
        rows_of.setdefault(image_id, []).append(row)
    return list(rows_of.values())
