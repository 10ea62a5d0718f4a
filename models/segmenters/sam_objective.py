"""How a small SAM learns class-agnostic masks from box and point prompts (focal, dice and quality terms)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from models.segmenters.small_sam import SmallSAM

BOX_JITTER = 0.1  # standard deviation over the side of the box, as in SAM's training
POINT_SHARE = 0.25  # of prompts that are one point instead of a box


def mask_terms(
    model: SmallSAM,
    images: Float[Tensor, "batch 3 side side"],
    masks: Float[Tensor, "batch prompts side side"],
    boxes_xyxy: Float[Tensor, "batch prompts 4"],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Terms for one prompt per mask; pictures are bytes as floats, padded to the square at right and bottom."""
    sam = model.sam
    embeddings = sam.image_encoder((images - sam.pixel_mean) / sam.pixel_std)
    size = masks.shape[-1]
    totals: dict[str, Tensor] = {}
    for embedding, targets, boxes in zip(embeddings, masks, boxes_xyxy, strict=True):
        points = None
        if torch.rand((), generator=generator) < POINT_SHARE:
            points = (_points_inside(targets, generator), torch.ones(len(targets), 1, device=targets.device))
        sparse, dense = sam.prompt_encoder(
            points=points, boxes=None if points else _jittered(boxes, size, generator), masks=None
        )
        logits, quality = sam.mask_decoder(
            image_embeddings=embedding[None],
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        logits = F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False)[:, 0]
        for name, term in _mask_losses(logits, quality[:, 0], targets).items():
            totals[name] = totals.get(name, torch.zeros((), device=term.device)) + term / len(images)
    return totals


def _mask_losses(logits: Tensor, quality: Tensor, targets: Tensor) -> dict[str, Tensor]:
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    miss = torch.where(targets > 0.5, 1 - probability, probability)
    shared = (probability * targets).sum((1, 2))
    dice = 1 - (2 * shared + 1) / (probability.sum((1, 2)) + targets.sum((1, 2)) + 1)
    with torch.no_grad():
        found = logits > 0
        iou = (found & (targets > 0.5)).sum((1, 2)) / (found | (targets > 0.5)).sum((1, 2)).clamp(min=1)
    return {"focal": (miss.square() * entropy).mean(), "dice": dice.mean(), "quality": F.mse_loss(quality, iou)}


def _jittered(boxes: Tensor, size: int, generator: torch.Generator) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes.shape, generator=generator).clamp(-2, 2).to(boxes.device)
    return (boxes + BOX_JITTER * sides * noise).clamp(0, size)


def _points_inside(masks: Tensor, generator: torch.Generator) -> Tensor:
    weights = masks.flatten(1).cpu() + 1e-9  # a mask without pixels gets a point anywhere
    index = torch.multinomial(weights, 1, generator=generator).to(masks.device)
    return torch.stack([index % masks.shape[-1], index // masks.shape[-1]], -1).float() + 0.5
