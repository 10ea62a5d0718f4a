"""Cleaning of mask proposals on masks of known sizes and overlaps, and its edge cases."""

import numpy as np

from deixis.labelling.proposals import clean_proposals

RULES = {"min_area": 1000, "max_overlap": 0.8, "most": 40}


def block(height: int, width: int, *, top: int = 0, left: int = 0) -> np.ndarray:
    mask = np.zeros((100, 120), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_29_small_ones_and_repetitions_go():
    large, small, middling = block(50, 100, top=50), block(30, 30), block(50, 60)  # 5000, 900 and 3000 pixels
    repeated = middling.copy()
    repeated.flat[np.flatnonzero(middling)[:100]] = False  # 2900 pixels, IoU 0.967 with the one before
    cleaned = clean_proposals(np.stack([large, small, middling, repeated]), **RULES)
    assert [int(mask.sum()) for mask in cleaned] == [5000, 3000]


def test_only_the_largest_are_kept():
    masks = np.stack([block(10, 10 + 5 * n, top=10 * n) for n in range(5)])
    cleaned = clean_proposals(masks, min_area=1, max_overlap=0.8, most=2)
    assert [int(mask.sum()) for mask in cleaned] == [300, 250]


def test_no_proposal_is_no_error():
    assert clean_proposals(np.zeros((0, 10, 12), bool), **RULES).shape == (0, 10, 12)
    assert clean_proposals(np.zeros((2, 10, 12), bool), **RULES).shape == (0, 10, 12)
