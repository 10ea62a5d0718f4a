"""From a response map to a mask with the picture's own edges: a random walk from the places that the map is sure of.

In place of the papers' affinity network (IRNet) and dense CRF: the walk's affinities are the picture's colours.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from skimage.segmentation import random_walker

SURE_FOREGROUND, SURE_BACKGROUND = 0.30, 0.10  # of the map's maximum; TRIS's thresholds
STIFFNESS = 130.0  # skimage's default: how strongly an edge stops the walk


def refine(
    scores: Float[np.ndarray, "height width"], pixels: UInt8[np.ndarray, "height width 3"]
) -> Bool[np.ndarray, "height width"]:
    """Walk from surely inside and surely outside; every pixel goes to whom it reaches first."""
    relative = scores / scores.max()
    seeds = np.where(relative >= SURE_FOREGROUND, 1, np.where(relative <= SURE_BACKGROUND, 2, 0))
    if not ((seeds == 1).any() and (seeds == 2).any() and (seeds == 0).any()):
        return relative >= SURE_FOREGROUND
    found = random_walker(pixels / 255.0, seeds, beta=STIFFNESS, mode="cg_j", channel_axis=-1)
    return found == 1
