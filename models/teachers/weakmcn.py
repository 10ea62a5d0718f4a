"""WeakMCN (CVPR 2025): RefCLIP's matching gives a box; it prompts a frozen segmenter, whose mask teaches a mask head.

Two branches share detector, text encoder and first fusion. Each mixes the maps of all experts into its own detector map
by a router of its own (no expert is left out, so nothing is sparse here). The mask head's loss comes after
`warm_epochs`: its target is the segmenter's mask of the box that the matching chooses at that moment. compat `released`
has the parts that nothing reads and biases before BatchNorm (21,551,879 parameters at the defaults) and adds the
attended map with rows and columns swapped; `fixed` leaves out the former and fixes the latter.
"""

import math
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.anchors import best_boxes, gather_cells, keep_confident_cells, map_to_cells
from deixis.boxes import cut_to
from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.training.ranks import gathered
from deixis.types import SCALES, BoxMasks, Candidates, TeacherBatch
from models.blocks.anchor_matching import AnchorMatcher, images_of_all
from models.blocks.aspp import ASPP
from models.blocks.garan import GlobalAttention, TextProduct
from models.blocks.layers import MultiScaleFusion
from models.text.gru_attention import GRUAttentionEncoder, TextConfig

PUBLISHED_ALPHA = {"released": 0.4, "fixed": 0.3}  # the release's configurations; the paper's text


@dataclass(frozen=True, config=STRICT)
class WeakMCNConfig:
    """Sizes and switches; the defaults are the published model."""

    compat: Literal["released", "fixed"] = "fixed"
    experts: dict[str, int] = field(default_factory=lambda: {"distilled_vit": 768, "segmentation_vit": 256})
    detector_channels: tuple[int, int, int] = (1024, 512, 256)  # coarse, middle, fine
    input_size: int = 416  # pixels; the frame of boxes and masks
    fused_width: int = 512
    joint_width: int = 512
    mask_width: int = 256
    aspp_width: int = 256
    aspp_rates: tuple[int, ...] = (6, 12, 18)
    attention_heads: int = 2
    has_position_code: bool = True  # added to the projected anchors
    keep_fraction: float = 0.1
    negatives: int = 2
    ignores_same_image: bool = False  # phrases about one image are no negatives of each other; for epoch: images
    warm_epochs: int = 10  # of matching alone
    suppress_from_epoch: int = 15  # inconsistent phrases stop teaching the mask head
    # IoU of box and predicted mask (alpha); null: the paper's 0.3 (0.2 in its RefCOCO+ rows), or the release's 0.4
    suppress_below: float | None = None
    weight_mask: float = 40.0  # the release multiplies the mean by the batch size of 40
    weight_projection: float = 1.0
    text: TextConfig = field(default_factory=TextConfig)

    @property
    def alpha(self) -> float:
        """The IoU below which a phrase is inconsistent."""
        return self.suppress_below if self.suppress_below is not None else PUBLISHED_ALPHA[self.compat]


class WeakMCN(nn.Module):
    """Teacher of boxes and masks: no box or mask of any object is ever given to it."""

    Config = WeakMCNConfig
    needs_box_masks = True
    location_weight = None
    calibration = None
    box_scales = ("coarse",)  # the segmenter has drawn no other boxes, and the fine map is the mask head's

    def __init__(self, config: WeakMCNConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.expert_names = tuple(config.experts)
        released = config.compat == "released"
        width, mask_width, text = config.fused_width, config.mask_width, config.text.width
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        self.fusion = MultiScaleFusion(config.detector_channels, width)
        self.box_mixture, self.mask_mixture = (ExpertMixture(config.experts, width, config.compat) for _ in range(2))
        self.matcher = AnchorMatcher(anchor_width=width, text_width=text, joint_width=config.joint_width)
        self.merge = nn.ModuleDict({name: TextProduct(width, text, mask_width, bias=released) for name in SCALES})
        self.mask_fusion = MultiScaleFusion((mask_width,) * 3, mask_width, outputs=SCALES if released else ("fine",))
        self.attention = GlobalAttention(
            mask_width,
            text,
            heads=config.attention_heads,
            orientation="transposed" if released else "correct",
            bias=released,
        )
        if released:
            self.unread = nn.Conv2d(mask_width, 1, 3, padding=1)
        self.mask = ASPP(mask_width, config.aspp_width, rates=config.aspp_rates)

    def loss(self, batch: TeacherBatch) -> dict[str, Float[Tensor, ""]]:
        """`contrast`; from `warm_epochs` on also `mask` and `projection`, towards the segmenter's mask of its box."""
        text = self.text_encoder(batch.tokens).flat
        maps = self._maps(batch)
        boxes = batch.detections.boxes[batch.image_of]
        kept_cells = keep_confident_cells(boxes, self.config.keep_fraction)
        anchors = gather_cells(map_to_cells(maps["coarse"]), kept_cells)
        code = self._code(boxes, kept_cells)
        image_of = images_of_all(batch) if self.config.ignores_same_image else None
        contrast = self.matcher.loss(anchors, text, negatives=self.config.negatives, code=code, image_of=image_of)
        terms = {"contrast": contrast}
        if batch.epoch < self.config.warm_epochs:
            return terms
        chosen, corners = self._choose(anchors, text, kept_cells, boxes, code)
        target = self._target(batch, chosen)
        logits = self._mask_logits(maps, text, side=target.shape[-1])
        content = self._box_masks(batch).content_xyxy[batch.image_of]
        bitmap = box_bitmap(cut_to(corners, content), side=self.config.input_size, grid=target.shape[-1])
        trusted = torch.ones(len(text), dtype=torch.bool, device=text.device)
        if batch.epoch >= self.config.suppress_from_epoch:
            trusted = overlap(bitmap, logits > 0) > self.config.alpha
        logits, target, trusted, bitmap = gathered((logits, target, trusted, bitmap))
        return terms | {
            "mask": mask_loss(logits, target, trusted),
            "projection": projection_loss(logits.sigmoid(), bitmap),
        }

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms; contrast has factor one."""
        return {"mask": self.config.weight_mask, "projection": self.config.weight_projection}

    @torch.no_grad()
    def match(self, batch: TeacherBatch) -> Candidates:
        """The kept cells' boxes, weighed for every phrase, and the mask head's answer."""
        text = self.text_encoder(batch.tokens).flat
        maps = self._maps(batch)
        boxes = batch.detections.boxes[batch.image_of]
        kept_cells = keep_confident_cells(boxes, self.config.keep_fraction)
        anchors = gather_cells(map_to_cells(maps["coarse"]), kept_cells)
        none = torch.empty(len(text), 0, dtype=torch.long, device=text.device)
        candidates = self.matcher.match(
            anchors,
            text,
            boxes=gather_cells(boxes, kept_cells),
            experts=none,
            code=self._code(boxes, kept_cells),
        )
        return replace(candidates, masks=self._mask_logits(maps, text, side=self.config.input_size).sigmoid())

    def _maps(self, batch: TeacherBatch) -> dict[str, Tensor]:
        """Fused detector maps per phrase; the coarse and the fine one enhanced by the experts. Each image once."""
        maps = self.fusion(*batch.detections.maps)
        images = torch.arange(len(maps["coarse"]), device=batch.image_of.device)
        expert_maps = {name: batch.experts.maps(name, images) for name in self.expert_names}
        enhanced = {
            "coarse": self.box_mixture(maps["coarse"], expert_maps),
            "middle": maps["middle"],
            "fine": self.mask_mixture(maps["fine"], expert_maps),
        }
        return {name: x.index_select(0, batch.image_of) for name, x in enhanced.items()}

    def _code(self, boxes: Tensor, kept_cells: Tensor) -> Tensor | None:
        if not self.config.has_position_code:
            return None
        centre = gather_cells(boxes, kept_cells)[..., :2].mean(2) / self.config.input_size
        return position_code(centre, width=self.config.joint_width)

    @torch.no_grad()
    def _choose(
        self, anchors: Tensor, text: Tensor, kept_cells: Tensor, boxes: Tensor, code: Tensor | None
    ) -> tuple[Int[Tensor, " batch"], Float[Tensor, "batch 4"]]:
        """Number of the cell that matches each phrase best at this moment, and its box."""
        projected = self.matcher.anchor_project(anchors) + (0 if code is None else code)
        best = torch.einsum("bkd,bd->bk", projected, self.matcher.text_project(text)).argmax(1)
        row = torch.arange(len(best), device=best.device)
        return kept_cells[row, best], best_boxes(gather_cells(boxes, kept_cells)).corners[row, best]

    def _target(self, batch: TeacherBatch, cells: Int[Tensor, " batch"]) -> Float[Tensor, "batch h w"]:
        """The segmenter's mask of each chosen cell's box."""
        stored = self._box_masks(batch)
        known = stored.cells[batch.image_of] == cells[:, None]
        if not known.any(1).all():
            raise DataError(
                "weakmcn: a chosen box has no stored mask: fewer boxes were segmented than keep_fraction keeps. "
                "Raise candidates.keep_fraction in params.yaml, then run: dvc repro segment_candidates"
            )
        return stored.masks[batch.image_of, known.int().argmax(1)].float()

    @staticmethod
    def _box_masks(batch: TeacherBatch) -> BoxMasks:
        if batch.box_masks is None:
            raise DataError("weakmcn needs masks of the detector's boxes. Run: dvc repro segment_candidates")
        return batch.box_masks

    def _mask_logits(self, maps: dict[str, Tensor], text: Tensor, *, side: int) -> Float[Tensor, "batch side side"]:
        merged = {name: self.merge[name](maps[name], text) for name in SCALES}
        fused = self.mask_fusion(merged["coarse"], merged["middle"], merged["fine"])["fine"]
        logits = self.mask(self.attention(fused, text).map).float()
        # the release stretches the outermost cells' centres to the image's border, and every mask with them
        stretch = self.config.compat == "released"
        return F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=stretch)[:, 0]


class ExpertMixture(nn.Module):
    """A detector map with weight one, plus every expert's, weighted by a router that reads the detector map."""

    def __init__(self, experts: dict[str, int], width: int, compat: str) -> None:
        super().__init__()
        self.has_norm = compat == "fixed"  # experts differ in scale by orders of magnitude
        self.router = nn.Linear(width, len(experts))
        self.project = nn.ModuleDict({name: nn.Linear(channels, width) for name, channels in experts.items()})

    def forward(self, detector: Float[Tensor, "batch width h w"], expert_maps: dict[str, Tensor]) -> Tensor:
        """[batch, width, h, w]; experts come to the detector's grid by pooling or by bilinear interpolation."""
        weights = self.router(detector.mean((2, 3)).detach()).softmax(-1)
        mixed = detector
        for index, (name, project) in enumerate(self.project.items()):
            mixed = mixed + weights[:, index, None, None, None] * self._on_grid(
                project, expert_maps[name], detector.shape[-1]
            )
        return mixed

    def _on_grid(self, project: nn.Module, x: Tensor, side: int) -> Tensor:
        if x.shape[-1] > side:
            x = F.adaptive_avg_pool2d(x, side)
        cells = x.permute(0, 2, 3, 1)
        cells = F.layer_norm(cells, cells.shape[-1:]) if self.has_norm else cells
        projected = project(cells).permute(0, 3, 1, 2)
        if projected.shape[-1] < side:
            projected = F.interpolate(projected, size=(side, side), mode="bilinear")
        return projected


def position_code(centre: Float[Tensor, "batch kept 2"], *, width: int) -> Float[Tensor, "batch kept width"]:
    """Sine code of centres in [0, 1]: half of the values for y, half for x; its squared norm is width / 2."""
    half = width // 2
    index = torch.arange(half, device=centre.device)
    period = 10_000 ** (2 * (index // 2) / half)
    angle = 2 * math.pi * centre[..., [1, 0], None] / period
    return torch.where(index % 2 == 0, angle.sin(), angle.cos()).flatten(-2)


def box_bitmap(boxes_xyxy: Float[Tensor, "batch 4"], *, side: int, grid: int) -> Bool[Tensor, "batch grid grid"]:
    """Pixels from the one that holds the left (top) side to the one that holds the right (bottom) side.

    Args:
        boxes_xyxy: In pixels of a square of `side`; the bitmap has `grid` pixels a side.
    """
    pixel = torch.arange(grid, device=boxes_xyxy.device)
    scaled = boxes_xyxy * (grid / side)
    left, top, right, bottom = scaled.floor()[:, :, None].unbind(1)
    return ((pixel >= top) & (pixel <= bottom))[:, :, None] & ((pixel >= left) & (pixel <= right))[:, None, :]


def mask_loss(
    logits: Float[Tensor, "batch h w"], target: Float[Tensor, "batch h w"], trusted: Bool[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy over all pixels; phrases that are not trusted count nothing, and still count in the mean."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2))
    return (entropy * trusted).mean()


def projection_loss(soft: Float[Tensor, "batch h w"], bitmap: Bool[Tensor, "batch h w"]) -> Float[Tensor, ""]:
    """Dice distance between the maxima over rows, and over columns, of mask and box (BoxInst)."""
    box = bitmap.float()
    return (_dice(soft.amax(1), box.amax(1)) + _dice(soft.amax(2), box.amax(2))).mean()


def _dice(predicted: Tensor, target: Tensor) -> Tensor:
    shared = (predicted * target).sum(1)
    return 1 - 2 * shared / (predicted.square().sum(1) + target.square().sum(1) + 1e-5)


def overlap(one: Bool[Tensor, "batch h w"], other: Bool[Tensor, "batch h w"]) -> Float[Tensor, " batch"]:
    """IoU of two masks."""
    return (one & other).sum((1, 2)) / (one | other).sum((1, 2)).clamp(min=1)
