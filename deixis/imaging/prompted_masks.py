"""Whether a mask is one to learn from: not empty, and like the box that it was drawn for.

A segmenter asked for a box may answer with a part of the object or with what lies behind it. Such a mask contradicts
its box; without it, the label still teaches the box.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from deixis.boxes import paired_iou
from deixis.imaging.masks import RLE, area, tight_box

# Of a mask that students may learn from; docs/methods.md (MCN) says what becomes of the others.
MIN_BOX_IOU = 0.5  # of the mask's own box with its prompt
MIN_AREA_RATIO, MAX_AREA_RATIO = 0.05, 1.05  # of the mask to its prompt


def refuse_masks(labels: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The labels without those masks that are empty or do not fit their prompt, and how many those were.

    Args:
        labels: Columns box and mask (RLE or None) and, where some masks were drawn for the box, `prompted`. Other masks
            have no prompt: a teacher's own, truth, and those of response maps, whose box is that of one part.
    """
    drawn = labels[labels["mask"].notna()]
    sound = pd.Series([area(rle) > 0 for rle in drawn["mask"]], index=drawn.index, dtype=bool)
    if "prompted" in drawn:
        prompted = drawn[drawn["prompted"]]
        prompts = torch.tensor(prompted["box"].map(list).tolist(), dtype=torch.float32).view(-1, 4)
        sound[prompted.index] = fit_prompts(prompted["mask"].tolist(), prompts).numpy()
    masks = labels["mask"].astype(object)
    masks[sound.index[~sound]] = None
    return labels.assign(mask=masks), int((~sound).sum())


def fit_prompts(masks: Sequence[RLE], boxes_xyxy: Float[Tensor, "masks 4"]) -> Bool[Tensor, " masks"]:
    """Whether each mask's box is like its prompt, and the mask neither a sliver of it nor larger; an empty one is not.

    Args:
        boxes_xyxy: In stored pixels; the segmenter was given what lies inside the image.
    """
    sizes_wh = torch.tensor([[int(rle["size"][1]), int(rle["size"][0])] for rle in masks]).view(-1, 2)
    prompts = torch.minimum(boxes_xyxy.clamp(min=0), sizes_wh.repeat(1, 2))
    tight = torch.tensor([tight_box(rle) for rle in masks], dtype=torch.float32).view(-1, 4)
    ratio = torch.tensor([area(rle) for rle in masks]) / (prompts[:, 2:] - prompts[:, :2]).prod(1)
    return (paired_iou(tight, prompts) >= MIN_BOX_IOU) & (ratio >= MIN_AREA_RATIO) & (ratio <= MAX_AREA_RATIO)
