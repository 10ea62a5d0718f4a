"""Which labels to look at first: those that are most often wrong, told without truth and before any decision.

Two signs, of equal weight by rank: a small margin over the runner-up, and a crowded box. People describe several of the
things that they see, so where many phrases of an image get one box, some of them are wrong. Neither sign needs a second
teacher. benchmarks/active_order.py measures what they are worth.
"""

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.stats import rankdata

SAME_BOX = 0.5  # IoU above which two boxes mean one thing, as in evaluation
AT_ONCE = 512  # labels of one image whose boxes are compared in one step


def most_doubtful_first(
    image_ids: Shaped[np.ndarray, " labels"],
    boxes_xyxy: Float[np.ndarray, "labels 4"],
    margin: Float[np.ndarray, " labels"],
) -> Int[np.ndarray, " labels"]:
    """Positions of the labels, the most doubtful first; of equal ones, in the order given.

    Args:
        boxes_xyxy: Not a number where a label has no box.
        margin: Not a number where there is none; any scale, higher is surer.
    """
    known = ~np.isnan(margin)
    filled = np.where(known, margin, np.median(margin[known]) if known.any() else 0.0)
    return np.argsort(rankdata(filled) - rankdata(crowding(image_ids, boxes_xyxy)), kind="stable")


def crowding(
    image_ids: Shaped[np.ndarray, " labels"], boxes_xyxy: Float[np.ndarray, "labels 4"]
) -> Float[np.ndarray, " labels"]:
    """Share of the other labels of the same image that say the same box.

    The mean of all where an image has one label. A label without a box is like no other.
    """
    share = np.full(len(image_ids), np.nan)
    order = np.argsort(image_ids, kind="stable")
    starts = np.flatnonzero(np.diff(image_ids[order])) + 1
    for rows in np.split(order, starts):
        if len(rows) > 1:
            for part in np.array_split(rows, -(-len(rows) // AT_ONCE)):
                alike = _same(boxes_xyxy[part], boxes_xyxy[rows]).sum(1) - 1
                share[part] = alike.clip(min=0) / (len(rows) - 1)
    lone = np.isnan(share)
    return np.where(lone, share[~lone].mean() if not lone.all() else 0.0, share)


def _same(some: Float[np.ndarray, "some 4"], others: Float[np.ndarray, "others 4"]) -> Float[np.ndarray, "some others"]:
    """1 where two boxes overlap by more than SAME_BOX."""
    low, high = np.maximum(some[:, None, :2], others[:, :2]), np.minimum(some[:, None, 2:], others[:, 2:])
    shared = (high - low).clip(min=0).prod(-1)
    area = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (some, others)]
    return (shared > SAME_BOX * (area[0][:, None] + area[1] - shared)).astype(float)
