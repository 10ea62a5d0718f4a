"""Where among the cells of a grid a phrase looks, and how that is pulled to its target."""

import torch
from jaxtyping import Float
from torch import Tensor


def cell_centres(cells: int, device: torch.device) -> Float[Tensor, "cells 2"]:
    """x, y in [0, 1] of a square grid, row-major."""
    side = round(cells**0.5)
    index = torch.arange(cells, device=device)
    return (torch.stack([index % side, index // side], -1) + 0.5) / side


def centre_of_gaze(gaze: Float[Tensor, "batch cells"]) -> Float[Tensor, "batch 2"]:
    """x, y in [0, 1] of where attention lies: its mean place over the strongest cell and that cell's neighbours."""
    centres = cell_centres(gaze.shape[1], gaze.device)
    reach = 1.5 * gaze.shape[1] ** -0.5
    near = ((centres - centres[gaze.argmax(1)][:, None]).abs() < reach).all(-1)
    nearby = gaze * near
    return nearby @ centres / nearby.sum(1, keepdim=True).clamp(min=1e-12)


def attention_term(gaze: Float[Tensor, "batch cells"], target: Float[Tensor, "batch 4"]) -> Float[Tensor, ""]:
    """Cross-entropy of attention with the four cells round the target's centre (cx, cy, w, h in [0, 1]).

    Each of the four weighs as in bilinear interpolation, so attention that fits has its mean place at that centre.
    """
    side = round(gaze.shape[1] ** 0.5)
    distance = (cell_centres(gaze.shape[1], gaze.device) - target[:, None, :2].clamp(0.5 / side, 1 - 0.5 / side)).abs()
    nearness = (1 - side * distance).clamp(min=0).prod(-1)
    return -(nearness * (gaze + 1e-6).log()).sum(1).mean()


def choice_term(logits: Float[Tensor, "batch cells"], target: Float[Tensor, "batch 4"]) -> dict[str, Float[Tensor, ""]]:
    """`choice`: the same of cells that compete: of the softmax over what each gives for being the answer."""
    return {"choice": attention_term(logits.float().softmax(1), target)}
