"""Training loss of the detector on boxes and categories (the papers do this step on COCO)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, box_iou, generalized_box_iou_loss

from models.detectors.yolov3 import Head, HeadOutput, YOLOv3

SHAPE_IOU = 0.5  # an anchor this similar in shape takes part in an object's detection
FREE_RANGE = (0.2, 1.25)  # object side over the anchor-free unit (4 strides) at which that box takes part
IGNORE_IOU = 0.6  # a free prediction overlapping an object this much is not pushed to "nothing here"


def detection_loss(
    model: YOLOv3,
    images: Float[Tensor, "batch 3 side side"],
    boxes_xyxy: Float[Tensor, "batch objects 4"],
    categories: Int[Tensor, "batch objects"],
    valid: Bool[Tensor, "batch objects"],
    *,
    rigid: bool,
) -> dict[str, Tensor]:
    """Named, unweighted terms, summed over the three scales; `valid` marks real rows of the padded objects."""
    best = _best_anchor_of_all(model, boxes_xyxy)
    terms: dict[str, Tensor] = {}
    for scale, (head, feature_map) in enumerate(zip(model.heads, model.features(images), strict=True)):
        # Only the coarse scale is read by teachers, so only its offsets are worth their cost.
        output = head(feature_map, rigid=rigid or scale > 0)
        for name, term in _scale_loss(head, output, boxes_xyxy, categories, valid, best - 3 * scale).items():
            terms[name] = terms.get(name, torch.zeros((), device=images.device)) + term
    return terms


def _shape_iou(sizes_wh: Tensor, anchors_wh: Tensor) -> Tensor:
    smaller = torch.minimum(sizes_wh[..., None, :], anchors_wh).prod(-1)
    return smaller / (sizes_wh.prod(-1)[..., None] + anchors_wh.prod(-1) - smaller)


def _best_anchor_of_all(model: YOLOv3, boxes_xyxy: Tensor) -> Tensor:
    anchors = torch.cat([head.anchors[:3] for head in model.heads])
    sizes = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=1)
    return _shape_iou(sizes, anchors).argmax(-1)


def _scale_loss(
    head: Head, output: HeadOutput, boxes_xyxy: Tensor, categories: Tensor, valid: Tensor, best: Tensor
) -> dict[str, Tensor]:
    sizes = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=1)
    centres = (boxes_xyxy[..., 2:] + boxes_xyxy[..., :2]) / 2
    side = round(output.raw.shape[1] ** 0.5)
    column_row = (centres / head.stride).long().clamp(0, side - 1)
    cell = column_row[..., 1] * side + column_row[..., 0]

    takes = _shape_iou(sizes, head.anchors[:3]) > SHAPE_IOU
    takes |= best[..., None] == torch.arange(3, device=best.device)
    relative = sizes.prod(-1).sqrt() / head.anchors[3, 0]
    free = (relative > FREE_RANGE[0]) & (relative < FREE_RANGE[1])
    takes = torch.cat([takes, free[..., None]], -1) & valid[..., None]

    image, thing, box = takes.nonzero(as_tuple=True)
    at = (image, cell[image, thing], box)
    objectness = torch.zeros_like(output.raw[..., 4])
    objectness[at] = 1.0
    with torch.no_grad():
        proposals = box_convert(output.decoded[..., :4].flatten(1, 2), "cxcywh", "xyxy")
        overlap = torch.stack([box_iou(p, b) for p, b in zip(proposals, boxes_xyxy, strict=True)])
        near = (overlap * valid[:, None]).amax(-1).view_as(objectness) > IGNORE_IOU
    counted = (objectness > 0) | ~near

    count = max(1, len(image))
    target = boxes_xyxy[image, thing]
    decoded = box_convert(output.decoded[at][:, :4], "cxcywh", "xyxy")
    wanted_guide = (sizes[image, thing] / head.anchors[box]).log()
    classes = F.one_hot(categories[image, thing], head.num_outputs - 5).float()
    entropy = F.binary_cross_entropy_with_logits(output.raw[..., 4], objectness, reduction="none")
    return {
        "box": generalized_box_iou_loss(decoded, target, reduction="sum") / count,
        "guide": F.smooth_l1_loss(output.guides[at], wanted_guide, reduction="sum", beta=0.2) / count,
        "objectness": (entropy * counted).sum() / count,
        "category": F.binary_cross_entropy_with_logits(output.raw[at][:, 5:], classes, reduction="sum") / count,
    }
