"""Cleaning mask proposals of an image, as PCNet does."""

import numpy as np
from jaxtyping import Bool


def clean_proposals(
    masks: Bool[np.ndarray, "proposals h w"], *, min_area: int, max_overlap: float, most: int
) -> Bool[np.ndarray, "kept h w"]:
    """Largest first, without those under `min_area` pixels or that repeat a kept one (IoU over `max_overlap`)."""
    areas = masks.sum((1, 2))
    flat = masks.reshape(len(masks), masks.shape[1] * masks.shape[2])
    kept: list[int] = []
    for row in np.argsort(-areas, kind="stable"):
        if areas[row] < min_area or len(kept) == most:
            break
        shared = (flat[kept] & flat[row]).sum(1)
        if not (shared > max_overlap * (areas[kept] + areas[row] - shared)).any():
            kept.append(int(row))
    return masks[kept]
