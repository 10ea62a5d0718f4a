"""DViN (CVPR 2025): RefCLIP's matching on features that a router mixes from the detector and a chosen expert.

compat `released` (33,541,381 parameters at the defaults) mixes with the two largest of four probabilities, so a
surer router gives its expert less weight; `paper` routes over detector and experts with five; `fixed` keeps the
detector at weight one and adds each chosen expert with its own probability, through a projection of its own.
The router reads the detector's features (and the phrase), never an expert: so it runs first, and only the
experts it chose run at all. The router numbers the experts in the order of `experts` in the config.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.anchors import gather_cells, kept_anchors, maps_to_cells
from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.training.losses import diversity_loss, text_guided_loss, vision_guided_loss
from deixis.types import SCALES, Candidates, Scales, TeacherBatch
from models.blocks.anchor_matching import AnchorMatcher
from models.blocks.layers import MultiScaleFusion
from models.text.gru_attention import GRUAttentionEncoder, TextConfig


@dataclass(frozen=True, config=STRICT)
class DViNConfig:
    """Sizes and switches; the defaults are the published model with `fixed` routing."""

    compat: Literal["paper", "released", "fixed"] = "fixed"
    # name -> channels of its map; the order is the router's
    experts: dict[str, int] = field(
        default_factory=lambda: {
            "contrastive_vit": 768,
            "distilled_vit": 768,
            "segmentation_vit": 256,
            "contrastive_convnet": 768,
        }
    )
    top_experts: int = 1
    routing: Literal["image", "text", "both", "constant"] = "image"  # constant: no router, all experts equally
    has_detector: bool = True  # in the mixture; without it the detector still guides the router, cells and boxes
    detector_channels: tuple[int, int, int] = (1024, 512, 256)  # coarse, middle, fine
    fused_width: int = 1024
    joint_width: int = 512
    code_width: int = 128  # of the vision-guided alignment
    # whose cells may answer; finer ones need extraction.box_scales; the first one's map is what the router reads
    scales: Scales = ("coarse",)
    keep_fraction: float = 0.1
    negatives: int = 2
    temperature: float = 0.5  # of the vision-guided alignment
    weight_diversity: float = 0.01
    weight_text: float = 1.0
    weight_vision: float = 1.0
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        most = len(self.experts) - (1 if self.compat == "released" else 0)
        if not 1 <= self.top_experts <= most:
            raise ConfigError(
                f"dvin: top_experts is {self.top_experts} of {len(self.experts)} experts; allowed with compat "
                f'"{self.compat}": 1 to {most}. Fix params.yaml, then run: dvc repro'
            )
        if self.routing == "constant" and self.top_experts != len(self.experts):
            raise ConfigError(
                f'dvin: routing "constant" mixes all {len(self.experts)} experts, but top_experts is '
                f'{self.top_experts}; allowed with it: {len(self.experts)}, and compat "fixed" or "paper". '
                "Fix params.yaml, then run: dvc repro"
            )


class Routing(NamedTuple):
    """The router's choice for every row of a batch."""

    probabilities: Float[Tensor, "batch experts"]
    chosen: Int[Tensor, "batch top"]  # expert indices, most probable first
    detector_weight: Float[Tensor, " batch"]
    expert_weights: Float[Tensor, "batch top"]


class DViN(nn.Module):
    """Teacher: no box is ever given to it; its loss needs image-phrase pairs alone."""

    Config = DViNConfig
    needs_box_masks = False
    location_weight = None
    calibration = None

    def __init__(self, config: DViNConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.expert_names = tuple(config.experts)
        self.box_scales = config.scales
        width = config.fused_width
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        outputs = SCALES if config.compat == "released" else config.scales
        self.fusion = MultiScaleFusion(config.detector_channels, width, outputs=outputs)
        condition = {"image": width, "text": config.text.width, "both": width + config.text.width}
        self._first = config.scales[0]
        self._choices = len(config.experts) + (config.compat == "paper")
        self.router = None if config.routing == "constant" else nn.Linear(condition[config.routing], self._choices)
        self._projection_of = _name_projections(config)
        self.project = nn.ModuleDict(
            {self._projection_of[name]: nn.Linear(channels, width) for name, channels in config.experts.items()}
        )
        self.matcher = AnchorMatcher(anchor_width=width, text_width=config.text.width, joint_width=config.joint_width)
        self.text_decoder = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.text.width)
        )
        self.expert_code, self.detector_code = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.code_width)) for _ in range(2)
        )

    def loss(self, batch: TeacherBatch) -> dict[str, Float[Tensor, ""]]:
        """`contrast`, `diversity`, `text_guided` and `vision_guided`; see `term_weights` for their factors."""
        text = self.text_encoder(batch.tokens).flat
        detector = self._detector_maps(batch)
        routing = self.route(detector[self._first], text)
        experts = {scale: self._chosen_maps(batch, routing.chosen, x) for scale, x in detector.items()}
        fused = {scale: self._mix(x, experts[scale], routing) for scale, x in detector.items()}
        kept_cells = kept_anchors(batch.detections, self.config.keep_fraction)[0][batch.image_of]
        anchors = gather_cells(maps_to_cells(fused, self.config.scales), kept_cells)
        if self.config.compat == "paper":  # the mixture, not the expert alone, is aligned with the detector
            expert_mean = anchors.mean(1)
            detector_mean = gather_cells(maps_to_cells(detector, self.config.scales), kept_cells).mean(1)
        else:
            expert_mean, detector_mean = experts[self._first].mean((1, 3, 4)), detector[self._first].mean((2, 3))
        return {
            "contrast": self.matcher.loss(anchors, text, negatives=self.config.negatives),
            "diversity": diversity_loss(routing.probabilities),
            "text_guided": text_guided_loss(self.text_decoder(anchors), text),
            "vision_guided": vision_guided_loss(
                self.expert_code(expert_mean), self.detector_code(detector_mean), temperature=self.config.temperature
            ),
        }

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms; contrast has factor one."""
        return {
            "diversity": self.config.weight_diversity,
            "text_guided": self.config.weight_text,
            "vision_guided": self.config.weight_vision,
        }

    @torch.no_grad()
    def match(self, batch: TeacherBatch) -> Candidates:
        """The kept cells' boxes, weighed for every phrase; asks for the maps of the chosen experts only."""
        text = self.text_encoder(batch.tokens).flat
        detector = self._detector_maps(batch)
        routing = self.route(detector[self._first], text)
        fused = {s: self._mix(x, self._chosen_maps(batch, routing.chosen, x), routing) for s, x in detector.items()}
        kept_cells, boxes = kept_anchors(batch.detections, self.config.keep_fraction)
        anchors = gather_cells(maps_to_cells(fused, self.config.scales), kept_cells[batch.image_of])
        return self.matcher.match(anchors, text, boxes=boxes[batch.image_of], experts=routing.chosen)

    def route(self, detector: Float[Tensor, "batch width h w"], text: Float[Tensor, "batch text_width"]) -> Routing:
        """Choose experts from the fused detector map and, where so configured, the phrase; neither gets a gradient."""
        if self.router is None:
            probabilities = detector.new_full((len(detector), self._choices), 1 / self._choices, dtype=torch.float32)
        else:
            image, phrase = detector.mean((2, 3)).detach(), text.detach()
            condition = {"image": image, "text": phrase, "both": torch.cat([image, phrase], 1)}[self.config.routing]
            probabilities = self.router(condition).float().softmax(-1)
        return mix_weights(probabilities, top=self.config.top_experts, compat=self.config.compat)

    def _detector_maps(self, batch: TeacherBatch) -> dict[str, Tensor]:
        """Fused maps of the scales whose cells may answer, [phrases, width, h, w]."""
        fused = self.fusion(*batch.detections.maps)
        return {scale: fused[scale].index_select(0, batch.image_of) for scale in self.config.scales}

    def _chosen_maps(self, batch: TeacherBatch, chosen: Tensor, detector: Tensor) -> Tensor:
        """Projected maps of the chosen experts, [phrases, top, width, h, w]; an expert sees each image once.

        They come to the detector's grid by pooling; on a finer grid than their own they are repeated.
        """
        phrases, width, height, columns = detector.shape
        maps = detector.new_zeros(phrases, chosen.shape[1], width, height, columns)
        for index, name in enumerate(self.expert_names):
            rows, rank = (chosen == index).nonzero(as_tuple=True)
            if len(rows):
                images, place = batch.image_of[rows].unique(return_inverse=True)
                expert_maps = batch.experts.maps(name, images)
                cells = F.adaptive_avg_pool2d(expert_maps, (height, columns)).permute(0, 2, 3, 1)
                if self.config.compat == "fixed":  # experts differ in scale by orders of magnitude
                    cells = F.layer_norm(cells, cells.shape[-1:])
                projected = self.project[self._projection_of[name]](cells).permute(0, 3, 1, 2).index_select(0, place)
                maps = maps.index_put((rows, rank), projected.to(maps.dtype))
        return maps

    def _mix(self, detector: Tensor, experts: Tensor, routing: Routing) -> Tensor:
        weighted = torch.einsum("bn,bnchw->bchw", routing.expert_weights.to(experts.dtype), experts)
        if not self.config.has_detector:
            return weighted
        return routing.detector_weight.to(detector.dtype)[:, None, None, None] * detector + weighted


def mix_weights(
    probabilities: Float[Tensor, "batch choices"], *, top: int, compat: Literal["paper", "released", "fixed"]
) -> Routing:
    """From the router's softmax to the weights of the detector and of the chosen experts.

    With `paper`, choice 0 is the detector and the experts follow; the returned probabilities are then all of them.
    """
    if compat == "paper":
        weights, chosen = probabilities[:, 1:].topk(top, dim=1)
        return Routing(probabilities, chosen, probabilities[:, 0], weights)
    if compat == "fixed":
        weights, chosen = probabilities.topk(top, dim=1)
        return Routing(probabilities, chosen, torch.ones_like(probabilities[:, 0]), weights)
    ranked, order = probabilities.topk(top + 1, dim=1)
    shares = ranked / ranked.sum(1, keepdim=True)
    return Routing(probabilities, order[:, :top], shares[:, 0], shares[:, 1:])


def _name_projections(config: DViNConfig) -> dict[str, str]:
    """The released model sends every expert of equal width through one Linear; `fixed` gives each its own."""
    if config.compat == "fixed":
        return {name: name for name in config.experts}
    return {name: f"width_{channels}" for name, channels in config.experts.items()}
