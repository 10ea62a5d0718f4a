"""Masks that do not fit the box that they were drawn for."""

import numpy as np
import pandas as pd
import pytest
import torch

from deixis.imaging.masks import RLE, encode_mask, tight_box
from deixis.imaging.prompted_masks import fit_prompts, refuse_masks

PROMPT = [0.0, 0.0, 20.0, 10.0]


def rectangle(left: int, top: int, right: int, bottom: int) -> RLE:
    mask = np.zeros((20, 30), bool)
    mask[top:bottom, left:right] = True
    return encode_mask(mask)


def frame_of_one_pixel() -> RLE:
    """56 of 200 pixels."""
    mask = np.zeros((20, 30), bool)
    mask[:10, :20] = True
    mask[1:9, 1:19] = False
    return encode_mask(mask)


def two_far_pixels() -> RLE:
    mask = np.zeros((20, 30), bool)
    mask[0, 0] = mask[9, 19] = True
    return encode_mask(mask)


def test_the_box_round_a_mask():
    assert tight_box(rectangle(3, 2, 20, 10)) == (3, 2, 20, 10)
    assert tight_box(two_far_pixels()) == (0, 0, 20, 10)
    assert tight_box(rectangle(0, 0, 0, 0)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("mask", "fits"),
    [
        (rectangle(0, 0, 20, 10), True),
        (rectangle(0, 0, 10, 10), True),  # an IoU of one half is enough
        (rectangle(0, 0, 9, 10), False),
        (rectangle(0, 0, 21, 10), True),  # 1.05 of the box
        (rectangle(0, 0, 22, 10), False),
        (frame_of_one_pixel(), True),
        (two_far_pixels(), False),  # the right box, but a hundredth of it
        (rectangle(0, 0, 0, 0), False),
    ],
    ids=["whole", "half", "less than half", "a little more", "more", "thin", "sliver", "empty"],
)
def test_a_mask_fits_the_box_that_prompted_it(mask, fits):
    assert fit_prompts([mask], torch.tensor([PROMPT])).tolist() == [fits]


def test_the_part_of_a_box_outside_the_image_prompts_nothing():
    assert fit_prompts([rectangle(0, 0, 20, 10)], torch.tensor([[-30.0, -30.0, 20.0, 10.0]])).tolist() == [True]


def test_only_masks_with_a_prompt_must_fit_and_empty_ones_are_never_learnt():
    far, empty = rectangle(25, 15, 30, 20), rectangle(0, 0, 0, 0)
    labels = pd.DataFrame({"mask": [far, far, empty, None, rectangle(0, 0, 20, 10)], "box": [PROMPT] * 5})
    usable, refused = refuse_masks(labels.assign(prompted=[True, False, False, True, True]))
    assert (usable["mask"].isna().tolist(), refused) == ([True, False, True, True, False], 2)
    usable, refused = refuse_masks(labels)
    assert (usable["mask"].isna().tolist(), refused) == ([False, False, True, True, False], 1)
    assert labels["mask"].isna().sum() == 1  # the table that was given stays as it is


def test_labels_without_any_mask_pass():
    usable, refused = refuse_masks(pd.DataFrame({"mask": [None, None], "box": [PROMPT] * 2, "prompted": True}))
    assert (len(usable), refused) == (2, 0)
