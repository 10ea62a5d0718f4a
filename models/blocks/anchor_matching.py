"""What the anchor-text teachers share: a joint space for phrases and kept cells, its contrast, and its scores."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deixis.anchors import best_boxes
from deixis.training.losses import anchor_contrastive_loss
from deixis.types import Candidates


class AnchorMatcher(nn.Module):
    """Raw dot products between a phrase and the kept cells of an image: no normalisation, no temperature."""

    def __init__(self, *, anchor_width: int, text_width: int, joint_width: int) -> None:
        super().__init__()
        self.anchor_project = nn.Linear(anchor_width, joint_width)
        self.text_project = nn.Linear(text_width, joint_width)

    def loss(
        self,
        anchors: Float[Tensor, "batch kept anchor_width"],
        text: Float[Tensor, "batch text_width"],
        *,
        negatives: int,
        code: Float[Tensor, "batch kept joint_width"] | None = None,
    ) -> Float[Tensor, ""]:
        """Anchor-text contrast over the batch; `code` is added to the projected anchors."""
        projected = self.anchor_project(anchors)
        projected = projected if code is None else projected + code
        return anchor_contrastive_loss(self.text_project(text), projected, negatives=negatives)

    @torch.no_grad()
    def match(
        self,
        anchors: Float[Tensor, "batch kept anchor_width"],
        text: Float[Tensor, "batch text_width"],
        *,
        boxes: Float[Tensor, "batch kept per_cell values"],
        experts: Int[Tensor, "batch top"],
        code: Float[Tensor, "batch kept joint_width"] | None = None,
    ) -> Candidates:
        """The most confident box of every kept cell, and how well the cell matches the phrase."""
        projected = self.anchor_project(anchors)
        projected = projected if code is None else projected + code
        scores = torch.einsum("bkd,bd->bk", projected, self.text_project(text)).float()
        best = best_boxes(boxes)
        return Candidates(best.corners, scores, best.objectness, best.classes, experts)
