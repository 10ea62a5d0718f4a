"""What the anchor-text teachers share: a joint space for phrases and kept cells, its contrast, and its scores."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deixis.anchors import best_boxes
from deixis.training.losses import anchor_contrastive_loss
from deixis.training.ranks import gathered, gathered_numbers
from deixis.types import Candidates, TeacherBatch


def images_of_all(batch: TeacherBatch) -> Int[Tensor, " all_batch"]:
    """Which image each phrase is about, those of other processes included, counted over all of them."""
    return gathered_numbers(batch.image_of, len(batch.detections.boxes))


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
        image_of: Int[Tensor, " all_batch"] | None = None,
    ) -> Float[Tensor, ""]:
        """Anchor-text contrast over the batch.

        Args:
            code: Added to the projected anchors.
            image_of: Which image each phrase is about, those of other processes included, where images are no negatives
                of other phrases about them.
        """
        projected = self.anchor_project(anchors)
        projected = projected if code is None else projected + code
        phrases, cells = gathered((self.text_project(text), projected))
        return anchor_contrastive_loss(phrases, cells, negatives=negatives, image_of=image_of)

    def start_at_zero(self) -> None:
        """Let no cell match any phrase better than another, until something is learned."""
        nn.init.zeros_(self.anchor_project.weight)
        nn.init.zeros_(self.anchor_project.bias)

    def primed_loss(
        self,
        anchors: Float[Tensor, "batch kept anchor_width"],
        text: Float[Tensor, "batch text_width"],
        *,
        prior: Float[Tensor, "all_batch batch kept"],
        image_of: Int[Tensor, " batch"],
        images: int,
    ) -> dict[str, Float[Tensor, ""]]:
        """Contrast of scores that are added to a prior's, and `restraint`: the mean square of what is added.

        Each phrase is drawn to the anchors of its own image as far as the prior believes that they are meant, and away
        from those of all other images. The best anchor, as without a prior, would be whichever tells images apart: with
        few pairs that is often not the one that is meant.

        Args:
            prior: Log-plausibility for each phrase, those of other processes included, of the anchors in the image of
                each phrase.
            image_of: Which image each phrase is about; an image is no negative of another phrase about it.
            images: How many there are.
        """
        image_of = gathered_numbers(image_of, images)
        phrases, cells, prior = gathered((self.text_project(text), self.anchor_project(anchors), prior.transpose(0, 1)))
        prior = prior.transpose(0, 1)
        learned = torch.einsum("td,avd->tav", phrases, cells).float()
        own = torch.eye(len(phrases), dtype=torch.bool, device=text.device)
        same = (image_of[:, None] == image_of) & ~own
        scores = (prior + learned).masked_fill(same[..., None], -torch.inf)
        row = torch.arange(len(phrases), device=text.device)
        chances = scores.flatten(1).log_softmax(1).view_as(scores)[row, row]
        belief = prior[row, row].softmax(1)
        return {"contrast": -(belief * chances).sum(1).mean(), "restraint": learned.square().mean()}

    @torch.no_grad()
    def match(
        self,
        anchors: Float[Tensor, "batch kept anchor_width"],
        text: Float[Tensor, "batch text_width"],
        *,
        boxes: Float[Tensor, "batch kept per_cell values"],
        experts: Int[Tensor, "batch top"],
        code: Float[Tensor, "batch kept joint_width"] | None = None,
        prior: Float[Tensor, "batch kept"] | None = None,
    ) -> Candidates:
        """The most confident box of every kept cell, and how well the cell matches the phrase, beside a prior score."""
        projected = self.anchor_project(anchors)
        projected = projected if code is None else projected + code
        scores = torch.einsum("bkd,bd->bk", projected, self.text_project(text)).float()
        scores = scores if prior is None else scores + prior
        best = best_boxes(boxes)
        return Candidates(best.corners, scores, best.objectness, best.classes, experts)
