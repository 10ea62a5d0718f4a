"""How a small SAM learns class-agnostic masks from box and point prompts (focal, dice and quality terms)."""

import torch
from jaxtyping import Bool, Float
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from models.segmenters.small_sam import SmallSAM

TERM_WEIGHTS = {"focal": 20.0, "dice": 1.0, "quality": 1.0}  # as SAM
BOX_JITTER = 0.1  # standard deviation over the side of the box, as in SAM's training
POINT_SHARE = 0.25  # of prompts that are one point instead of a box


def mask_terms(
    model: SmallSAM,
    images: Float[Tensor, "batch 3 side side"],
    masks: Float[Tensor, "batch prompts side side"],
    boxes_xyxy: Float[Tensor, "batch prompts 4"],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Terms for one prompt per mask; images are bytes as floats, padded to the square at right and bottom.

    The terms are taken at the decoder's own resolution, a quarter of the side of SAM's input, against the share
    of each output pixel that the mask covers.
    """
    sam, prompts = model.sam, masks.shape[1]
    embeddings = sam.image_encoder((images - sam.pixel_mean) / sam.pixel_std)
    targets, boxes = masks.flatten(0, 1), boxes_xyxy.flatten(0, 1)
    sparse, dense, is_point = _prompts(sam, targets, boxes, generator)
    # segment-anything's decoder repeats one image for all prompts and adds the dense prompt of each. So that one call
    # serves all images, the images travel as dense prompts.
    logits, quality = sam.mask_decoder.predict_masks(
        image_embeddings=torch.zeros_like(embeddings[:1]),
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense + embeddings.repeat_interleave(prompts, 0),
    )
    covered = F.adaptive_avg_pool2d(targets, logits.shape[-2:])
    return choose_outputs(_mask_losses(logits, quality, covered[:, None]), is_point)


def choose_outputs(
    terms: dict[str, Float[Tensor, "prompts outputs"]], is_point: Bool[Tensor, " prompts"]
) -> dict[str, Float[Tensor, ""]]:
    """The first output answers boxes. Of the others, which answer points, the best one learns (a point is ambiguous).

    All outputs that answer a prompt learn to predict their own quality.
    """
    fit = TERM_WEIGHTS["focal"] * terms["focal"] + TERM_WEIGHTS["dice"] * terms["dice"]
    best = torch.where(is_point, 1 + fit[:, 1:].argmin(1), 0)[:, None]
    chosen = {name: terms[name].gather(1, best).mean() for name in ("focal", "dice")}
    quality = torch.where(is_point, terms["quality"][:, 1:].mean(1), terms["quality"][:, 0])
    return chosen | {"quality": quality.mean()}


def _prompts(sam: Sam, masks: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Embedded prompts: a jittered box each, or, for some, one point inside the mask. Both are two tokens."""
    from_boxes, dense = sam.prompt_encoder(points=None, boxes=_jittered(boxes, masks.shape[-1], generator), masks=None)
    points = _points_inside(masks, generator), torch.ones(len(masks), 1, device=masks.device)
    from_points, _ = sam.prompt_encoder(points=points, boxes=None, masks=None)
    is_point = torch.rand(len(masks), 1, 1, generator=generator).to(masks.device) < POINT_SHARE
    return torch.where(is_point, from_points, from_boxes), dense, is_point[:, 0, 0]


def _mask_losses(
    logits: Float[Tensor, "prompts outputs h w"], quality: Tensor, covered: Float[Tensor, "prompts 1 h w"]
) -> dict[str, Float[Tensor, "prompts outputs"]]:
    entropy = F.binary_cross_entropy_with_logits(logits, covered.expand_as(logits), reduction="none")
    probability = logits.sigmoid()
    shared = (probability * covered).sum((2, 3))
    dice = 1 - (2 * shared + 1) / (probability.sum((2, 3)) + covered.sum((2, 3)) + 1)
    with torch.no_grad():
        predicted, true = logits > 0, covered > 0.5
        iou = (predicted & true).sum((2, 3)) / (predicted | true).sum((2, 3)).clamp(min=1)
    focal = (probability - covered).square() * entropy
    return {"focal": focal.mean((2, 3)), "dice": dice, "quality": (quality - iou).square()}


def _jittered(boxes: Tensor, size: int, generator: torch.Generator) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes.shape, generator=generator).clamp(-2, 2).to(boxes.device)
    return (boxes + BOX_JITTER * sides * noise).clamp(0, size)


def _points_inside(masks: Tensor, generator: torch.Generator) -> Tensor:
    reached = (masks.flatten(1).cpu() + 1e-9).double().cumsum(1)  # a mask without pixels gets a point anywhere
    drawn = torch.rand(len(masks), 1, generator=generator, dtype=torch.float64) * reached[:, -1:]
    index = torch.searchsorted(reached, drawn).clamp(max=reached.shape[1] - 1).to(masks.device)
    return torch.stack([index % masks.shape[-1], index // masks.shape[-1]], -1).float() + 0.5
