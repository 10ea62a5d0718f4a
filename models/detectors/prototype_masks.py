"""A mask head on the frozen detector: prototypes of the image, mixed anew for every box, as in YOLACT and YOLO-seg.

The fine map gives a few prototype masks of the whole image, the coarse map as many numbers for every box of every
cell; a box's mask is the prototypes summed with its numbers, and cut to it. Nothing is prompted, and no network runs
per box. From YOLO-seg (YOLOv5's code, `Proto` and `process_mask`): 32 prototypes of width 256 at twice the fine map's
side, their activation, numbers without tanh, loss inside the object's box. From YOLACT: bilinear enlargement.
"""

import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.boxes import paired_iou
from deixis.core.config import STRICT
from models.blocks.layers import conv_bn

GROWTH = 2  # side of the prototypes over that of the fine map


@dataclass(frozen=True, config=STRICT)
class PrototypeMasksConfig:
    """Sizes; the defaults are the published head on the papers' detector."""

    detector_channels: tuple[int, int, int] = (1024, 512, 256)  # coarse, middle, fine; the middle map is not read
    boxes_per_cell: int = 4
    prototypes: int = 32
    width: int = 256


class PrototypeMasks(nn.Module):
    """Two of the detector's maps in; prototypes, and every box's coefficients of them, out."""

    Config = PrototypeMasksConfig

    def __init__(self, config: PrototypeMasksConfig) -> None:
        super().__init__()
        self.config = config
        coarse, _, fine = config.detector_channels
        self.prototypes = nn.Sequential(
            conv_bn(fine, config.width, 3, activation=nn.SiLU),
            nn.Upsample(scale_factor=GROWTH, mode="bilinear"),
            conv_bn(config.width, config.width, 3, activation=nn.SiLU),
            conv_bn(config.width, config.prototypes, 1, activation=nn.SiLU),
        )
        self.coefficients = nn.Sequential(
            conv_bn(coarse, config.width, 3, activation=nn.SiLU),
            nn.Conv2d(config.width, config.boxes_per_cell * config.prototypes, 1),
        )

    def forward(
        self, coarse: Float[Tensor, "batch coarse_channels h w"], fine: Float[Tensor, "batch fine_channels H W"]
    ) -> tuple[Tensor, Tensor]:
        """Prototypes [batch, prototypes, 2 H, 2 W] and coefficients [batch, h * w, boxes_per_cell, prototypes].

        Cells are in row-major order and boxes in the detector's.
        """
        mixed = self.coefficients(coarse).flatten(2)
        mixed = mixed.unflatten(1, (self.config.boxes_per_cell, self.config.prototypes))
        return self.prototypes(fine), mixed.permute(0, 3, 1, 2)


def assemble(
    prototypes: Float[Tensor, "prototypes h w"],
    coefficients: Float[Tensor, "boxes prototypes"],
    boxes_xyxy: Float[Tensor, "boxes 4"],
    *,
    side: int,
) -> Float[Tensor, "boxes side side"]:
    """Soft masks of some boxes of one image, in [0, 1] and zero outside of each box.

    Args:
        boxes_xyxy: Pixels of the square input. The cut is made there, after enlarging (YOLOv5's
            `process_mask_native`), and not on the coarser prototypes.
        side: Of the square input.
    """
    logits = mix(prototypes, coefficients)
    if logits.shape[-2:] != (side, side):
        logits = F.interpolate(logits[None], size=(side, side), mode="bilinear")[0]
    return logits.sigmoid() * pixels_inside(boxes_xyxy, height=side, width=side)


def mix(
    prototypes: Float[Tensor, "prototypes h w"], coefficients: Float[Tensor, "boxes prototypes"]
) -> Float[Tensor, "boxes h w"]:
    """Mask logits: each box's own sum of the prototypes."""
    return torch.einsum("bk,khw->bhw", coefficients, prototypes)


def pixels_inside(boxes_xyxy: Float[Tensor, "boxes 4"], *, height: int, width: int) -> Bool[Tensor, "boxes h w"]:
    """Whether the middle of each pixel of a grid lies in each box, given in pixels of that grid."""
    left, top, right, bottom = boxes_xyxy[:, :, None].unbind(1)
    x = torch.arange(width, device=boxes_xyxy.device) + 0.5
    y = torch.arange(height, device=boxes_xyxy.device) + 0.5
    rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
    return rows[:, :, None] & columns[:, None, :]


def responsible_boxes(
    found_xyxy: Float[Tensor, "batch boxes 4"],
    objects_xyxy: Float[Tensor, "batch objects 4"],
    valid: Bool[Tensor, "batch objects"],
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Which box learns to draw which object: the one that overlaps it most; numbers of image, box and object.

    YOLO-seg assigns by cell and shape of the anchor, because its boxes still learn; a frozen detector's can be asked.
    Objects that no box overlaps are left out.
    """
    batch, boxes, objects = *found_xyxy.shape[:2], objects_xyxy.shape[1]
    overlap = paired_iou(
        found_xyxy[:, :, None].expand(batch, boxes, objects, 4), objects_xyxy[:, None].expand(batch, boxes, objects, 4)
    )
    iou, best = overlap.max(1)
    image, thing = (valid & (iou > 0)).nonzero(as_tuple=True)
    return image, best[image, thing], thing


def mask_loss(
    logits: Float[Tensor, "pairs h w"], targets: Float[Tensor, "pairs h w"], boxes_xyxy: Float[Tensor, "pairs 4"]
) -> Float[Tensor, ""]:
    """Mean over the pairs of the cross-entropy inside each object's own box, over the box's area; zero without pairs.

    The area counts pixels whose middle is inside (YOLO-seg divides by the exact one), so that a small box weighs what
    a large one does. Boxes are in pixels of the logits' grid.
    """
    inside = pixels_inside(boxes_xyxy, height=logits.shape[-2], width=logits.shape[-1])
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * inside
    per_pair = entropy.sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
    return per_pair.sum() / max(1, len(per_pair))


def mask_head_loss(
    head: PrototypeMasks,
    maps: tuple[Tensor, Tensor, Tensor],
    found_xyxy: Float[Tensor, "batch cells per_cell 4"],
    objects_xyxy: Float[Tensor, "batch objects 4"],
    masks: Float[Tensor, "batch objects h w"],
    valid: Bool[Tensor, "batch objects"],
) -> dict[str, Tensor]:
    """The head's one, unweighted term.

    Args:
        maps: The frozen detector's, coarse to fine.
        found_xyxy: The detector's boxes of the coarse scale, on the prototypes' grid.
        objects_xyxy: True boxes on that grid; `valid` marks real rows of the padded objects.
        masks: Share of each pixel of the grid that the object covers.
    """
    prototypes, coefficients = head(maps[0], maps[2])
    image, box, thing = responsible_boxes(found_xyxy.flatten(1, 2), objects_xyxy, valid)
    numbers = coefficients.flatten(1, 2)[image, box]
    logits = torch.cat([mix(prototypes[row], numbers[image == row]) for row in range(len(prototypes))])
    return {"mask": mask_loss(logits, masks[image, thing], objects_xyxy[image, thing])}
