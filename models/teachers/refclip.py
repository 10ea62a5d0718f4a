"""RefCLIP (CVPR 2023): find the detector's anchor that matches the phrase; learn by contrast between images.

compat `released` builds the model of the released code, 27,501,057 parameters at the defaults, of which
2,363,392 never receive a gradient; `fixed` leaves those out and is otherwise the same; `paper` has the text
encoder of the paper (both directions, one attention layer) and fuses straight into the joint width.
"""

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Literal

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.anchors import gather_cells, kept_anchors, maps_to_cells
from deixis.core.config import STRICT
from deixis.types import SCALES, Candidates, Scales, TeacherBatch
from models.blocks.anchor_matching import AnchorMatcher, images_of_all
from models.blocks.layers import MultiScaleFusion
from models.text.gru_attention import GRUAttentionEncoder, TextConfig


@dataclass(frozen=True, config=STRICT)
class RefCLIPConfig:
    """Sizes; the defaults are the published model."""

    compat: Literal["paper", "released", "fixed"] = "fixed"
    detector_channels: tuple[int, int, int] = (1024, 512, 256)  # coarse, middle, fine
    fused_width: int = 1024
    joint_width: int = 512
    scales: Scales = ("coarse",)  # whose cells may answer; finer ones need extraction.box_scales
    keep_fraction: float = 0.1  # of their cells; 0.2 on ReferIt
    negatives: int = 2  # ranks of negative anchors per other image (N in the paper)
    ignores_same_image: bool = False  # phrases about one image are no negatives of each other; for epoch: images
    calibration: tuple[float, float] | None = None  # as `benchmarks.calibration` measures it
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        if self.compat == "paper":
            object.__setattr__(self, "text", replace(self.text, bidirectional=True, layers=1))
            object.__setattr__(self, "fused_width", self.joint_width)


class RefCLIP(nn.Module):
    """Teacher: no box is ever given to it; its loss needs image-phrase pairs alone."""

    Config = RefCLIPConfig
    needs_box_masks = False
    location_weight = None
    expert_names: tuple[str, ...] = ()

    def __init__(self, config: RefCLIPConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.box_scales, self.calibration = config.scales, config.calibration
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        outputs = SCALES if config.compat == "released" else config.scales
        self.fusion = MultiScaleFusion(config.detector_channels, config.fused_width, outputs=outputs)
        self.matcher = AnchorMatcher(
            anchor_width=config.fused_width, text_width=config.text.width, joint_width=config.joint_width
        )

    def loss(self, batch: TeacherBatch) -> dict[str, Float[Tensor, ""]]:
        """`contrast`: anchor-text contrast over the images of the batch."""
        anchors, _ = self._anchors(batch)
        text = self.text_encoder(batch.tokens).flat
        image_of = images_of_all(batch) if self.config.ignores_same_image else None
        return {"contrast": self.matcher.loss(anchors, text, negatives=self.config.negatives, image_of=image_of)}

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms; all one."""
        return {}

    @torch.no_grad()
    def match(self, batch: TeacherBatch) -> Candidates:
        """The kept cells' boxes, weighed for every phrase."""
        anchors, boxes = self._anchors(batch)
        text = self.text_encoder(batch.tokens).flat
        none = torch.empty(len(text), 0, dtype=torch.long, device=text.device)
        return self.matcher.match(anchors, text, boxes=boxes, experts=none)

    def _anchors(self, batch: TeacherBatch) -> tuple[Tensor, Tensor]:
        """Features and boxes of the kept cells of each phrase's image."""
        kept_cells, boxes = kept_anchors(batch.detections, self.config.keep_fraction)
        cells = maps_to_cells(self.fusion(*batch.detections.maps), self.config.scales)
        return gather_cells(cells, kept_cells).index_select(0, batch.image_of), boxes[batch.image_of]
