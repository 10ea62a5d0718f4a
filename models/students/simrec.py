"""SimREC (Luo et al. 2022): one-stage student. Phrase times image at three scales, fused, one box per cell.

Left out because nothing reads them: the 26x26 and 52x52 output projections and GARAN's extra map convolution.
The published backbone is YOLOv5-L's (frozen but for its end) and takes images without normalisation.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.training.ranks import gathered
from deixis.training.resize import draw_side
from deixis.types import SCALES, Grounding, StudentBatch
from models.blocks.csp_darknet import as_input
from models.blocks.garan import GlobalAttention, Orientation, TextProduct
from models.blocks.layers import MultiScaleFusion
from models.student_blocks.cell_head import TERM_WEIGHTS, CellHead, best_cell, detection_terms
from models.student_blocks.gaze import choice_term
from models.student_blocks.mirror import mirrored_words
from models.student_blocks.one_stage import build_backbone, phrase_maps, training_maps
from models.student_blocks.varied import VariedConfig, varied, viewer
from models.text.gru_attention import GRUAttentionEncoder

FINEST_FIRST = SCALES[::-1]  # as the backbone gives its maps


@dataclass(frozen=True, config=STRICT)
class SimRECConfig(VariedConfig):
    """Sizes; the defaults are the published model."""

    fused_width: int = 512
    attention_heads: int = 2
    attention_orientation: Orientation = "correct"  # the release swaps rows and columns
    head_width: int = 256


class SimREC(nn.Module):
    """Student: trains on one box per phrase, whoever drew it."""

    Config = SimRECConfig
    has_score = True
    needs_masks = False
    needs_candidates = False
    onnx_obstacle = None
    starts = ("backbone",)

    def __init__(self, config: SimRECConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.input_size = config.input_size
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        self.backbone = build_backbone(config)
        width = config.fused_width
        self.merge = nn.ModuleDict(
            {
                name: TextProduct(channels, config.text.width, width)
                for name, channels in zip(FINEST_FIRST, config.map_widths[-3:], strict=True)
            }
        )
        self.fusion = MultiScaleFusion((width,) * 3, width, outputs=("coarse",), upsampling="bilinear")
        self.attention = GlobalAttention(
            width, config.text.width, heads=config.attention_heads, orientation=config.attention_orientation
        )
        self.head = CellHead(width, config.head_width)
        self.register_buffer("mirrored_words", mirrored_words(vocabulary), persistent=False)

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return TERM_WEIGHTS | self.config.choice

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`box`: 1 - IoU^2 over assigned cells; `objectness`: BCE over all cells; both per assigned cell.

        Where switched on also `choice`: see `choice_term`.
        """
        batch, side = varied(batch, self.mirrored_words, self.config), draw_side(self.config.resize_sides)
        maps = training_maps(self.backbone, batch, self.config, side=side, show=viewer(self.config))
        raw = self._forward(maps, batch)
        raw, boxes = gathered((raw, batch.boxes_norm))
        terms = detection_terms(raw, boxes, stride=self.config.backbone.stride)
        if self.config.choice:
            terms |= choice_term(raw[..., 4], boxes)
        return terms

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """Box of the cell with the highest objectness; no suppression, no clipping."""
        return best_cell(
            self._forward(self.backbone(as_input(batch.squares)), batch), stride=self.config.backbone.stride
        )

    def _forward(self, maps: Sequence[Tensor], batch: StudentBatch) -> Tensor:
        """Raw outputs per cell, row-major: [phrases, cells, 5]."""
        text = self.text_encoder(batch.tokens).flat
        levels = phrase_maps(maps, batch.image_of, coordinates=self.config.coordinates)
        merged = {name: self.merge[name](x, text) for name, x in zip(FINEST_FIRST, levels, strict=True)}
        fused = self.fusion(merged["coarse"], merged["middle"], merged["fine"])["coarse"]
        return self.head(self.attention(fused, text).map)
