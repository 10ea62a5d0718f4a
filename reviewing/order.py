"""Which labels to look at first: those that are most often wrong, told without truth and before any decision.

Two signs, of equal weight by rank: a small margin over the runner-up, and a crowded box. People describe several of the
things that they see, so where many phrases of an image get one box, some of them are wrong. Neither sign needs a second
teacher. benchmarks/active_order.py measures what they are worth.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import rankdata

SAME_BOX = 0.5  # IoU above which two boxes mean one thing, as in evaluation
AT_ONCE = 512  # labels of one image whose boxes are compared in one step


def most_doubtful_first(labels: pd.DataFrame) -> Int[np.ndarray, " labels"]:
    """Positions of the labels, the most doubtful first; of equal ones, in the order of the table.

    Args:
        labels: With `image_id`, `box` and `margin`, which may be without a value.
    """
    margin = labels["margin"].to_numpy(dtype=float, na_value=np.nan)
    margin = np.where(np.isnan(margin), np.nanmedian(margin) if not np.isnan(margin).all() else 0.0, margin)
    doubt = rankdata(crowding(labels)) - rankdata(margin)
    return np.argsort(-doubt, kind="stable")


def crowding(labels: pd.DataFrame) -> Float[np.ndarray, " labels"]:
    """Share of the other labels of the same image that say the same box.

    The mean of all where an image has one label. A label without a box is like no other.
    """
    boxes = np.array([[np.nan] * 4 if box is None else box for box in labels["box"]], dtype=float).reshape(-1, 4)
    share = np.full(len(labels), np.nan)
    for rows in labels.groupby("image_id", sort=False).indices.values():
        if len(rows) > 1:
            for part in np.array_split(rows, -(-len(rows) // AT_ONCE)):
                share[part] = (_same(boxes[part], boxes[rows]).sum(1) - 1).clip(min=0) / (len(rows) - 1)
    lone = np.isnan(share)
    return np.where(lone, share[~lone].mean() if not lone.all() else 0.0, share)


def _same(some: Float[np.ndarray, "some 4"], others: Float[np.ndarray, "others 4"]) -> Float[np.ndarray, "some others"]:
    """1 where two boxes overlap by more than SAME_BOX."""
    low, high = np.maximum(some[:, None, :2], others[:, :2]), np.minimum(some[:, None, 2:], others[:, 2:])
    shared = (high - low).clip(min=0).prod(-1)
    area = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (some, others)]
    return (shared > SAME_BOX * (area[0][:, None] + area[1] - shared)).astype(float)
