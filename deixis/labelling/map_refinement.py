"""From a response map to a mask with the image's own edges: a random walk from the places that the map is sure of.

In place of the papers' affinity network (IRNet) and dense CRF: the walk's affinities are the image's colours.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from skimage.segmentation import random_walker

SURE_FOREGROUND, SURE_BACKGROUND = 0.30, 0.10  # of the map's maximum; TRIS's thresholds
BACKGROUND, FOREGROUND, UNSURE = 0, 1, 255  # of seeds, as IRNet writes them
STIFFNESS = 130.0  # skimage's default: how strongly an edge stops the walk


def seeds(relative: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """What a map is sure of: foreground, background, and unsure between the thresholds; IRNet's seeds without its CRF.

    Args:
        relative: The map over its maximum.
    """
    inside, outside = relative >= SURE_FOREGROUND, relative <= SURE_BACKGROUND
    return np.select([inside, outside], [FOREGROUND, BACKGROUND], UNSURE).astype(np.uint8)


def refine(
    scores: Float[np.ndarray, "height width"], pixels: UInt8[np.ndarray, "height width 3"]
) -> Bool[np.ndarray, "height width"]:
    """Walk from surely inside and surely outside; every pixel goes to whom it reaches first.

    A map that is nowhere above zero has no foreground.
    """
    if scores.max() <= 0:  # over such a maximum the lowest places would be the most confident
        return np.zeros(scores.shape, bool)
    relative = scores / scores.max()
    sure = seeds(relative)
    if set(np.unique(sure)) != {BACKGROUND, FOREGROUND, UNSURE}:
        return relative >= SURE_FOREGROUND
    labels = np.select([sure == FOREGROUND, sure == BACKGROUND], [1, 2], 0)  # skimage's 0 is for the walk to fill
    labelled = random_walker(pixels / 255.0, labels, beta=STIFFNESS, mode="cg_j", channel_axis=-1)
    return labelled == 1
