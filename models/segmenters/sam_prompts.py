"""Asking a SAM, whichever image encoder it has: segment-anything's predictor and its automatic mode.

Each function is a method of every class that holds a SAM as `sam`.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn

from deixis.core.runtime import autocast


class _Resize(ResizeLongestSide):
    """segment-anything's, which makes a side of 0 pixels of a strip's shorter one."""

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        height, width = ResizeLongestSide.get_preprocess_shape(oldh, oldw, long_side_length)
        return max(height, 1), max(width, 1)


@torch.no_grad()
def segment(
    model: nn.Module, image: np.ndarray, boxes_xyxy: Float[Tensor, "boxes 4"], *, best_of_three: bool = False
) -> tuple[Bool[np.ndarray, "boxes h w"], Float[np.ndarray, " boxes"]]:
    """One mask per box prompt, and the mask quality (IoU) that the model itself predicts.

    Args:
        model: Holds a `Sam`.
        image: uint8 [height, width, 3], RGB, stored pixels.
        boxes_xyxy: In the same pixels.
        best_of_three: Whether a box, too, may mean three things, as a point, of which the best is taken.
    """
    predictor = _look_at(model, image)
    prompts = predictor.transform.apply_boxes_torch(boxes_xyxy.to(predictor.device), image.shape[:2])
    masks, quality, _ = predictor.predict_torch(None, None, boxes=prompts, multimask_output=best_of_three)
    return _best(masks, quality)


@torch.no_grad()
def segment_points(
    model: nn.Module, image: np.ndarray, points_xy: Float[Tensor, "points 2"]
) -> tuple[Bool[np.ndarray, "points h w"], Float[np.ndarray, " points"]]:
    """One mask per point prompt: of the three that a point may mean, the one whose predicted quality is highest."""
    predictor = _look_at(model, image)
    prompts = predictor.transform.apply_coords_torch(points_xy.to(predictor.device), image.shape[:2])
    inside = torch.ones(len(prompts), 1, device=predictor.device)
    masks, quality, _ = predictor.predict_torch(prompts[:, None], inside, multimask_output=True)
    return _best(masks, quality)


@torch.no_grad()
def propose(
    model: nn.Module, image: np.ndarray, *, points_per_side: int, min_quality: float, min_stability: float
) -> Bool[np.ndarray, "proposals h w"]:
    """Masks of whatever is there: segment-anything's automatic mode, prompted by a grid of points."""
    generator = SamAutomaticMaskGenerator(
        model.sam, points_per_side=points_per_side, pred_iou_thresh=min_quality, stability_score_thresh=min_stability
    )
    generator.predictor.transform = _Resize(generator.predictor.transform.target_length)
    masks = [proposal["segmentation"] for proposal in generator.generate(image)]
    return np.stack(masks) if masks else np.zeros((0, *image.shape[:2]), bool)


def _best(
    masks: Bool[Tensor, "prompts masks h w"], quality: Float[Tensor, "prompts masks"]
) -> tuple[Bool[np.ndarray, "prompts h w"], Float[np.ndarray, " prompts"]]:
    best = quality.argmax(1)
    row = torch.arange(len(best), device=best.device)
    return masks[row, best].cpu().numpy(), quality[row, best].float().cpu().numpy()


def _look_at(model: nn.Module, image: np.ndarray) -> SamPredictor:
    predictor = SamPredictor(model.sam)
    predictor.transform = _Resize(predictor.transform.target_length)
    with autocast(predictor.device):
        predictor.set_image(image)
    # prompts are read, and masks drawn, in single precision: half of it would blur where a prompt lies
    predictor.features = predictor.features.float()
    return predictor
