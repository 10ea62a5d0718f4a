"""RealGIN (Zhou et al. 2019): one-stage student. The phrase chooses among three scales, then attends globally.

SimREC's backbone, text encoder, head and recipe round RealGIN's own parts: adaptive feature selection, global
attention, the attended map times the phrase, and a loss that pulls the attention to the target. Order and product are
those of its author's Keras code for RefCOCO. The released PyTorch code is a ZSGNet with 19,215 anchors for other
collections: `realgin_anchors`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.training.ranks import gathered
from deixis.training.resize import draw_side
from deixis.types import Grounding, StudentBatch
from models.blocks.csp_darknet import as_input
from models.blocks.garan import Attended, GlobalAttention, Orientation, TextProduct
from models.student_blocks.cell_head import TERM_WEIGHTS, CellHead, best_cell, detection_terms
from models.student_blocks.feature_selection import FeatureSelection, iou_heat_map
from models.student_blocks.gaze import choice_term
from models.student_blocks.mirror import mirrored_words
from models.student_blocks.one_stage import build_backbone, phrase_maps, training_maps
from models.student_blocks.varied import VariedConfig, varied, viewer
from models.text.gru_attention import GRUAttentionEncoder


@dataclass(frozen=True, config=STRICT)
class RealGINConfig(VariedConfig):
    """Sizes; the defaults are those of SimREC's framework."""

    selection_width: int = 256  # inside adaptive feature selection
    fused_width: int = 512
    attention_heads: int = 2
    attention_orientation: Orientation = "correct"  # the release swaps rows and columns
    weight_attention: float = 1.0
    product_width: int = 1024  # of the attended map times the phrase, which the head reads
    head_width: int = 256


class RealGIN(nn.Module):
    """Student: trains on one box per phrase, whoever drew it."""

    Config = RealGINConfig
    has_score = True
    needs_masks = False
    needs_candidates = False
    onnx_obstacle = None
    starts = ("backbone",)

    def __init__(self, config: RealGINConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.input_size = config.input_size
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        self.backbone = build_backbone(config)
        width = config.fused_width
        self.selection = FeatureSelection(
            config.map_widths[-3:], config.text.width, hidden=config.selection_width, width=width
        )
        self.attention = GlobalAttention(
            width,
            config.text.width,
            heads=config.attention_heads,
            orientation=config.attention_orientation,
            has_projection=False,
        )
        self.product = TextProduct(width, config.text.width, config.product_width)
        self.head = CellHead(config.product_width, config.head_width)
        self.register_buffer("mirrored_words", mirrored_words(vocabulary), persistent=False)

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return TERM_WEIGHTS | {"attention": self.config.weight_attention} | self.config.choice

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """SimREC's terms, and `attention`: where the phrase collected, against a heat map."""
        batch, side = varied(batch, self.mirrored_words, self.config), draw_side(self.config.resize_sides)
        assert batch.boxes_norm is not None
        maps = training_maps(self.backbone, batch, self.config, side=side, show=viewer(self.config))
        attended, outputs = self._forward(maps, batch)
        outputs, logits, boxes = gathered((outputs, attended.logits, batch.boxes_norm))
        heat = iou_heat_map(boxes, side=attended.map.shape[-1])
        attention = F.binary_cross_entropy_with_logits(logits.float(), heat)
        terms = detection_terms(outputs, boxes, stride=self.config.backbone.stride)
        if self.config.choice:
            terms |= choice_term(outputs[..., 4], boxes)
        return terms | {"attention": attention}

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """Box of the cell with the highest objectness; no suppression, no clipping."""
        _, raw = self._forward(self.backbone(as_input(batch.squares)), batch)
        return best_cell(raw, stride=self.config.backbone.stride)

    def _forward(self, maps: Sequence[Tensor], batch: StudentBatch) -> tuple[Attended, Tensor]:
        """Where the phrase looked, and raw outputs per cell."""
        text = self.text_encoder(batch.tokens).flat
        levels = phrase_maps(maps, batch.image_of, coordinates=self.config.coordinates)
        attended = self.attention(self.selection(levels, text), text)
        return attended, self.head(self.product(attended.map, text))
