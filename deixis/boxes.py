"""Box geometry that every stage needs.

torchvision has these too, but importing it takes seconds in each of some forty processes; what is here is only
what the stages without other use for torchvision call.
"""

import torch
from jaxtyping import Float
from torch import Tensor

EPS = 1e-7  # torchvision's


def cxcywh_to_xyxy(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Centre and size -> corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def xyxy_to_cxcywh(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Corners -> centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def paired_iou(first: Float[Tensor, "*n 4"], second: Float[Tensor, "*n 4"]) -> Float[Tensor, " *n"]:
    """IoU of each pair of corner boxes; 0 where a box has no area or is not finite."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1) for box in (first, second)]
    union = areas[0] + areas[1] - shared
    # The quotient is taken over a safe union, so that the gradient of empty boxes is zero and not NaN.
    iou = shared / torch.where(union > 0, union, torch.ones_like(union))
    sound = (areas[0] > 0) & (areas[1] > 0) & union.isfinite()
    return torch.where(sound, iou, torch.zeros_like(iou))


def paired_giou(first: Float[Tensor, "*n 4"], second: Float[Tensor, "*n 4"]) -> Float[Tensor, " *n"]:
    """Generalised IoU of each pair of corner boxes, in (-1, 1]: IoU minus the empty share of the box round both."""
    shared = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(
        min=0
    )
    around = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (first, second)]
    union = areas[0] + areas[1] - shared.prod(-1)
    return shared.prod(-1) / (union + EPS) - (around.prod(-1) - union) / (around.prod(-1) + EPS)


def cut_to(boxes_xyxy: Float[Tensor, "*n 4"], frames_xyxy: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """What of each box lies within its frame; of a box outside nothing, so that it has no area."""
    low, high = frames_xyxy[..., None, :2], frames_xyxy[..., None, 2:]
    corners = boxes_xyxy.unflatten(-1, (2, 2))
    return torch.minimum(torch.maximum(corners, low), high).flatten(-2)
