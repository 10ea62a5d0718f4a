"""RealGIN (Zhou et al. 2019) as its released code has it: one stage, a pyramid of six levels, nine anchors per cell.

A ZSGNet whose three maps are each chosen and attended by the phrase before the pyramid takes them. Published for
Flickr30k and ReferIt only; `realgin` is the one that fits the other students' frame. Parameters at the defaults:
60,268,150 and 300 per word.
"""

from collections.abc import Sequence
from dataclasses import field

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy
from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.training.ranks import gathered
from deixis.training.resize import ResizeMode, draw_side, resized
from deixis.types import Grounding, StudentBatch
from models.blocks.coordinates import cell_places
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet, as_input
from models.blocks.garan import GlobalAttention, Orientation
from models.blocks.resnet import ResNetConfig, build_resnet
from models.student_blocks.anchors import decode_offsets, focal_term, make_anchors, match_anchors, offset_term
from models.student_blocks.feature_pyramid import FeaturePyramid
from models.student_blocks.feature_selection import FeatureSelection, iou_heat_map
from models.student_blocks.one_stage import phrase_maps, training_maps
from models.text.last_states import LastStatesConfig, LastStatesEncoder

OBJECTNESS_BIAS = -4.0  # at first no anchor answers


@dataclass(frozen=True, config=STRICT)
class RealGINAnchorsConfig:
    """Sizes; the defaults are the published model's."""

    input_size: int = 320
    resize_sides: tuple[int, ...] = (320,)  # training draws one per step; the release has one
    resize_mode: ResizeMode = "bilinear"
    cnn: ResNetConfig | None = field(default_factory=ResNetConfig)  # trained whole
    backbone: CSPConfig | None = None  # in place of `cnn`: the pretrained one of the other students
    frozen_backbone: bool = False  # all of `backbone` but its last stage
    text: LastStatesConfig = field(default_factory=LastStatesConfig)
    selection_width: int = 256  # inside adaptive feature selection
    fused_width: int = 512
    attention_heads: int = 2
    attention_orientation: Orientation = "correct"  # the release swaps rows and columns
    pyramid_width: int = 256
    head_width: int = 256
    head_depth: int = 4  # 3x3 convolutions between the first and the last one
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height over width
    anchor_scales: tuple[float, ...] = (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3))  # cells
    min_iou: float = 0.6  # of an anchor that learns a target
    weight_attention: float = 1.0


class RealGINAnchors(nn.Module):
    """Student: trains on one box per phrase, whoever drew it."""

    Config = RealGINAnchorsConfig
    has_score = True
    needs_masks = False
    needs_candidates = False
    onnx_obstacle = None

    def __init__(self, config: RealGINAnchorsConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        if (config.cnn is None) == (config.backbone is None) or (config.frozen_backbone and config.backbone is None):
            raise ConfigError(
                "realgin_anchors: name one of cnn and backbone and set the other to null; frozen_backbone needs a "
                "backbone. Fix params.yaml, then run: dvc repro"
            )
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.input_size = config.input_size
        text, width = config.text.width, config.fused_width
        self.text_encoder = LastStatesEncoder(config.text, vocabulary)
        self.cnn = build_resnet(config.cnn, trains_whole=True) if config.cnn else None
        self.backbone = CSPDarkNet(config.backbone) if config.backbone else None
        if config.frozen_backbone:
            self.backbone.freeze_all_but_last()
        channels = config.backbone.widths if config.backbone else [level["num_chs"] for level in self.cnn.feature_info]
        self.selections = nn.ModuleList(
            FeatureSelection(channels[-3:], text, hidden=config.selection_width, width=width, target=scale, bias=True)
            for scale in range(3)
        )
        self.attentions = nn.ModuleList(
            GlobalAttention(
                width,
                text,
                heads=config.attention_heads,
                orientation=config.attention_orientation,
                has_projection=False,
            )
            for _ in range(3)
        )
        self.pyramid = FeaturePyramid(width, config.pyramid_width)
        self.head = anchor_head(
            config.pyramid_width + text + 2,
            config.head_width,
            depth=config.head_depth,
            anchors=len(config.anchor_ratios) * len(config.anchor_scales),
        )

    @property
    def starts(self) -> tuple[str, ...]:
        """Pretrained parts; the published CNN's ImageNet weights have no card."""
        return () if self.backbone is None else ("backbone",)

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {"objectness": 1.0, "box": 1.0, "attention": self.config.weight_attention}

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`objectness`: focal, over positives; `box`: smooth L1; `attention`: where the phrase collected, per scale."""
        assert batch.boxes_norm is not None
        raw, anchors, collected = self._forward(self._look_resized(batch), batch)
        raw, collected, boxes = gathered((raw, collected, batch.boxes_norm))
        positive = match_anchors(boxes, anchors, min_iou=self.config.min_iou)
        return {
            "objectness": focal_term(raw[..., 4], positive),
            "box": offset_term(raw[..., :4], boxes, anchors, positive),
            "attention": torch.stack([attention_term(logits, boxes) for logits in collected]).mean(),
        }

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """Box of the anchor with the highest objectness; no suppression, no clipping."""
        raw, anchors, _ = self._forward(self._look(batch.squares), batch)
        scores, best = raw[..., 4].sigmoid().max(1)
        boxes = decode_offsets(raw[..., :4], anchors)[torch.arange(best.shape[0], device=best.device), best]
        return Grounding(boxes_xyxy=cxcywh_to_xyxy(boxes) * batch.squares.shape[-1], scores=scores)

    def _forward(self, maps: Sequence[Tensor], batch: StudentBatch) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Offsets and objectness per anchor, [phrases, anchors, 5]; the anchors; collecting logits of each scale."""
        text = self.text_encoder(batch.tokens)
        levels = phrase_maps(maps, batch.image_of)
        attended = [
            attend(select(levels, text), text) for select, attend in zip(self.selections, self.attentions, strict=True)
        ]
        pyramid = self.pyramid([level.map for level in attended])
        raw = torch.cat([self._answer(level, text) for level in pyramid], 1).float()
        anchors = make_anchors(
            [level.shape[-1] for level in pyramid],
            ratios=self.config.anchor_ratios,
            scales=self.config.anchor_scales,
            device=raw.device,
        )
        return raw, anchors, [level.logits for level in attended]

    def _look_resized(self, batch: StudentBatch) -> Sequence[Tensor]:
        side = draw_side(self.config.resize_sides)
        if self.backbone is not None:
            return training_maps(self.backbone, batch, self.config, side=side)
        return self._look(resized(batch.squares, side, mode=self.config.resize_mode))

    def _look(self, squares: Tensor) -> Sequence[Tensor]:
        """Fine, middle and coarse map of each image."""
        if self.backbone is not None:
            return self.backbone(as_input(squares))
        return self.cnn.forward_intermediates(as_input(squares), indices=3, intermediates_only=True)

    def _answer(self, level: Tensor, text: Tensor) -> Tensor:
        """The shared head on one level of the pyramid."""
        spread = text[:, :, None, None].expand(-1, -1, *level.shape[2:])
        raw = self.head(torch.cat([level, spread, cell_places(level)], 1))
        return raw.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 5))


def anchor_head(channels: int, width: int, *, depth: int, anchors: int) -> nn.Sequential:
    """Convolutions of 3x3 up to four offsets and an objectness for each anchor of a cell."""
    layers: list[nn.Module] = []
    for given in (channels, *[width] * depth):
        layers += [nn.Conv2d(given, width, 3, padding=1), nn.ReLU()]
    last = nn.Conv2d(width, 5 * anchors, 3, padding=1)
    with torch.no_grad():
        last.bias.zero_()
        last.bias[4::5] = OBJECTNESS_BIAS
    return nn.Sequential(*layers, last)


def attention_term(logits: Float[Tensor, "batch cells"], boxes_norm: Float[Tensor, "batch 4"]) -> Float[Tensor, ""]:
    """Cross-entropy of the collecting logits on one square grid against the box's heat map there."""
    heat = iou_heat_map(boxes_norm, side=round(logits.shape[1] ** 0.5))
    return F.binary_cross_entropy_with_logits(logits.float(), heat)
