"""MCN (Luo et al. 2020): one network answers with box and mask, and its two halves are held to look at one place.

The shared backbone is SimREC's (the published one is Darknet-53), and so are text encoder and recipe. Head, losses and
the soft suppression of mask pixels outside the box are MCN's own. Trains on labels with boxes and masks.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy, paired_iou
from deixis.core.config import STRICT
from deixis.training.ranks import gathered
from deixis.training.resize import draw_side
from deixis.types import Grounding, StudentBatch
from models.blocks.aspp import ASPP
from models.blocks.csp_darknet import as_input
from models.blocks.garan import GlobalAttention, Orientation, TextProduct
from models.blocks.layers import MultiScaleFusion
from models.student_blocks.cell_head import head_layers
from models.student_blocks.gaze import choice_term
from models.student_blocks.mirror import mirrored_words
from models.student_blocks.one_stage import build_backbone, phrase_maps, training_maps
from models.student_blocks.varied import VariedConfig, varied, viewer
from models.text.gru_attention import GRUAttentionEncoder, TextConfig

IGNORED_OVERLAP = 0.5  # a wrong anchor that overlaps the target more than this is not told to be silent
MASK_LOSS_DIVISOR = 640.0  # the published sum over 52 x 52 positions, times a tenth, in sums over 416 x 416 pixels


@dataclass(frozen=True, config=STRICT)
class MCNConfig(VariedConfig):
    """Sizes; the defaults are the published model's, on SimREC's backbone."""

    fused_width: int = 512
    attention_heads: int = 2
    attention_orientation: Orientation = "correct"  # the release swaps rows and columns
    head_width: int | None = None  # of SimREC's layers before the boxes; in no release
    anchors: tuple[tuple[float, float], ...] = ((137, 256), (248, 272), (386, 271))  # pixels, width and height
    aspp_width: int = 256
    aspp_rates: tuple[int, ...] = (6, 12, 18)
    mask_upsampling: Literal["centres", "corners"] = "centres"  # what is aligned; the release has corners (see WeakMCN)
    mask_threshold: float = 0.35
    mask_suppression: Literal["none", "asnls"] = "asnls"
    weight_consistency: float = 1.0
    text: TextConfig = field(default_factory=TextConfig)


class MCN(nn.Module):
    """Student: trains on one box and one mask per phrase, whoever drew them."""

    Config = MCNConfig
    has_score = True
    needs_masks = True
    needs_candidates = False
    onnx_obstacle = None
    starts = ("backbone",)

    def __init__(self, config: MCNConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.input_size = config.input_size
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        self.backbone = build_backbone(config)
        fine, middle, coarse = config.map_widths[-3:]
        width, text, merged = config.fused_width, config.text.width, config.backbone.widths[-1]
        self.merge = TextProduct(coarse, text, merged)
        self.fusion = MultiScaleFusion((merged, middle, fine), width, outputs=("coarse", "fine"), upsampling="bilinear")
        self.box_attention, self.mask_attention = (
            GlobalAttention(width, text, heads=config.attention_heads, orientation=config.attention_orientation)
            for _ in range(2)
        )
        self.before_boxes = head_layers(width, config.head_width) if config.head_width else nn.Identity()
        self.boxes = nn.Conv2d(config.head_width or width, 5 * len(config.anchors), 1)
        self.mask = ASPP(width, config.aspp_width, rates=config.aspp_rates)
        self.box_energy, self.mask_energy = (nn.Conv2d(width, 1, 3, padding=1) for _ in range(2))
        self.register_buffer("mirrored_words", mirrored_words(vocabulary), persistent=False)

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {"size": 0.5, "consistency": self.config.weight_consistency} | self.config.choice

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`centre`, `size`, `objectness`, `mask` and `consistency`, each a mean over phrases of sums over places.

        Where switched on also `choice`: a cell's logit is then that of its strongest anchor.
        """
        batch, side = varied(batch, self.mirrored_words, self.config), draw_side(self.config.resize_sides)
        assert batch.boxes_norm is not None and batch.masks is not None
        maps = training_maps(self.backbone, batch, self.config, side=side, show=viewer(self.config))
        boxes, mask = self._attend(maps, batch)
        raw = self._box_outputs(boxes)
        target = F.interpolate(batch.masks[:, None], size=(side, side), mode="area")[:, 0]
        entropy = F.binary_cross_entropy_with_logits(self._mask_logits(mask, side), target, reduction="none")
        drawn = batch.masks.flatten(1).any(1)  # a label whose mask is missing trains the box alone
        agreement = consistency(mask, self.mask_energy(mask), boxes, self.box_energy(boxes))
        of_phrases = raw, batch.boxes_norm, entropy.sum((1, 2)) * drawn, agreement * drawn
        raw, boxes_norm, masks, agreement = gathered(of_phrases)
        terms = anchor_terms(raw, boxes_norm, anchors=self._anchors(raw), stride=self.config.backbone.stride)
        if self.config.choice:
            terms |= choice_term(raw[..., 4].amax(2), boxes_norm)
        return terms | {
            "mask": masks.mean() / MASK_LOSS_DIVISOR * (self.config.input_size / side) ** 2,
            "consistency": agreement.mean(),
        }

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """Box of the anchor with the highest objectness, and the mask."""
        boxes, mask = self._attend(self.backbone(as_input(batch.squares)), batch)
        raw = self._box_outputs(boxes)
        decoded = decode_anchors(raw, anchors=self._anchors(raw), stride=self.config.backbone.stride).flatten(1, 2)
        scores, best = decoded[..., 4].max(1)
        corners = cxcywh_to_xyxy(decoded[torch.arange(best.shape[0], device=best.device), best, :4])
        soft = self._mask_logits(mask, batch.squares.shape[-1]).sigmoid()
        if self.config.mask_suppression == "asnls":
            soft = suppress_outside(soft, corners, scores)
        return Grounding(boxes_xyxy=corners, scores=scores, masks=soft, mask_threshold=self.config.mask_threshold)

    def _attend(self, maps: Sequence[Tensor], batch: StudentBatch) -> tuple[Tensor, Tensor]:
        """Coarse map for the box and fine map for the mask."""
        text = self.text_encoder(batch.tokens).flat
        fine, middle, coarse = phrase_maps(maps, batch.image_of, coordinates=self.config.coordinates)
        fused = self.fusion(self.merge(coarse, text), middle, fine)
        return self.box_attention(fused["coarse"], text).map, self.mask_attention(fused["fine"], text).map

    def _box_outputs(self, x: Tensor) -> Tensor:
        """[phrases, cells, anchors, 5], raw."""
        raw = self.boxes(self.before_boxes(x)).float().flatten(2).transpose(1, 2)
        return raw.unflatten(2, (len(self.config.anchors), 5))

    def _mask_logits(self, x: Tensor, side: int) -> Tensor:
        corners = self.config.mask_upsampling == "corners"
        logits = F.interpolate(self.mask(x).float(), size=(side, side), mode="bilinear", align_corners=corners)
        return logits[:, 0]

    def _anchors(self, raw: Tensor) -> Float[Tensor, "anchors 2"]:
        return torch.tensor(self.config.anchors, device=raw.device, dtype=torch.float32)


def decode_anchors(
    raw: Float[Tensor, "batch cells anchors 5"], *, anchors: Float[Tensor, "anchors 2"], stride: int
) -> Float[Tensor, "batch cells anchors 5"]:
    """cx, cy, w, h in input pixels, and objectness."""
    side = round(raw.shape[1] ** 0.5)
    cells = torch.arange(raw.shape[1], device=raw.device)
    corner = torch.stack([cells % side, cells // side], -1).to(raw.dtype)[:, None]
    centre = (raw[..., :2].sigmoid() + corner) * stride
    size = raw[..., 2:4].clamp(max=8).exp() * anchors
    return torch.cat([centre, size, raw[..., 4:].sigmoid()], -1)


def anchor_terms(
    raw: Float[Tensor, "batch cells anchors 5"],
    boxes_norm: Float[Tensor, "batch 4"],
    *,
    anchors: Float[Tensor, "anchors 2"],
    stride: int,
) -> dict[str, Float[Tensor, ""]]:
    """YOLOv3's loss for one object per row: `centre`, `size` (before its factor of a half) and `objectness`.

    The anchor of the most similar shape answers, in the cell of the target's centre; small targets weigh more.
    """
    batch, cells, _, _ = raw.shape
    side = round(cells**0.5)
    target = boxes_norm * (side * stride)
    cell_xy = (target[:, :2] / stride).long().clamp(0, side - 1)
    cell = cell_xy[:, 1] * side + cell_xy[:, 0]
    anchor = most_similar_anchor(target[:, 2:], anchors)
    row = torch.arange(batch, device=raw.device)
    chosen = raw[row, cell, anchor]
    weight = 2 - boxes_norm[:, 2:].prod(-1)
    offset = target[:, :2] / stride - cell_xy
    centre = F.binary_cross_entropy_with_logits(chosen[:, :2], offset, reduction="none").sum(1)
    log_size = (target[:, 2:].clamp(min=1e-3) / anchors[anchor]).log()
    size = (chosen[:, 2:4] - log_size).square().sum(1)
    objectness = objectness_term(raw, target, (row, cell, anchor), anchors=anchors, stride=stride)
    return {
        "centre": (weight * centre).mean(),
        "size": (weight * size).mean(),
        "objectness": objectness / batch,
    }


def most_similar_anchor(sizes: Float[Tensor, "batch 2"], anchors: Float[Tensor, "anchors 2"]) -> Int[Tensor, " batch"]:
    """Number of the anchor that overlaps each size most, both about one centre."""
    shared = torch.minimum(sizes[:, None], anchors).prod(-1)
    return (shared / (sizes[:, None].prod(-1) + anchors.prod(-1) - shared)).argmax(1)


def objectness_term(
    raw: Float[Tensor, "batch cells anchors 5"],
    target: Float[Tensor, "batch 4"],
    answers: tuple[Tensor, Tensor, Tensor],
    *,
    anchors: Float[Tensor, "anchors 2"],
    stride: int,
) -> Float[Tensor, ""]:
    """Sum of the cross-entropy of all anchors but those that overlap the target without answering for it.

    Args:
        target: Centre and size in input pixels.
        answers: Row, cell and anchor of those that answer.
    """
    decoded = cxcywh_to_xyxy(decode_anchors(raw.detach(), anchors=anchors, stride=stride)[..., :4])
    overlap = paired_iou(decoded, cxcywh_to_xyxy(target)[:, None, None].expand_as(decoded))
    counts = overlap <= IGNORED_OVERLAP
    counts[answers] = True
    wanted = torch.zeros_like(raw[..., 4])
    wanted[answers] = 1.0
    entropy = F.binary_cross_entropy_with_logits(raw[..., 4], wanted, reduction="none")
    return (entropy * counts).sum()


def consistency(
    one: Float[Tensor, "batch width h w"],
    one_energy: Float[Tensor, "batch 1 h w"],
    other: Float[Tensor, "batch width h2 w2"],
    other_energy: Float[Tensor, "batch 1 h2 w2"],
) -> Float[Tensor, " batch"]:
    """CEM's loss per phrase: maps put their weight where features agree; -log of the expected (cosine + 1) / 2.

    The expectation over pairs of places is the product of two means, so the pairs themselves are never built.
    """

    def mean_direction(x: Tensor, energy: Tensor) -> Tensor:
        directions = F.normalize(x.float().flatten(2), dim=1)
        return torch.einsum("bcp,bp->bc", directions, energy.float().flatten(1).softmax(-1))

    cosine = (mean_direction(one, one_energy) * mean_direction(other, other_energy)).sum(1)
    return -((cosine + 1) / 2 + 1e-6).log()


def suppress_outside(
    masks: Float[Tensor, "batch side side"], boxes_xyxy: Float[Tensor, "batch 4"], scores: Float[Tensor, " batch"]
) -> Float[Tensor, "batch side side"]:
    """ASNLS: pixels inside the box times 2 - score, pixels outside times score; at most 1."""
    inside = pixels_inside(boxes_xyxy, side=masks.shape[-1])
    factor = torch.where(inside, 2 - scores[:, None, None], scores[:, None, None])
    return (masks * factor).clamp(max=1)


def pixels_inside(boxes_xyxy: Float[Tensor, "batch 4"], *, side: int) -> Bool[Tensor, "batch side side"]:
    """Pixels whose middle lies in each box."""
    middle = torch.arange(side, device=boxes_xyxy.device) + 0.5
    left, top, right, bottom = boxes_xyxy[:, :, None].unbind(1)
    return ((middle > top) & (middle < bottom))[:, :, None] & ((middle > left) & (middle < right))[:, None, :]
