"""DViN (CVPR 2025): RefCLIP's matching on features that a router mixes from the detector and a chosen expert.

compat `released` (33,541,381 parameters at the defaults) mixes with the two largest of four probabilities, so a
surer router gives its expert less weight; `paper` routes over detector and experts with five; `fixed` keeps the
detector at weight one and adds each chosen expert with its own probability, through a projection of its own.
The router reads the detector's features (and the phrase), never an expert: so it runs first, and only the
experts it chose run at all. The router numbers the experts in the order of `experts` in the config.

With a `prior`, its scores are added to those of the teacher without training, whose sentence encoder then reads the
phrases; it begins as that teacher, and few pairs lead it a little away. `class_words` may then be among the experts.
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
from deixis.core.frozen import freeze
from deixis.language.location_words import beside_places
from deixis.training.losses import diversity_loss, text_guided_loss, vision_guided_loss
from deixis.training.ranks import gathered, gathered_texts
from deixis.types import CLASS_WORDS, SCALES, Candidates, Scale, Scales, TeacherBatch
from models.blocks.anchor_matching import AnchorMatcher, images_of_all
from models.blocks.class_words import class_word_maps
from models.blocks.layers import MultiScaleFusion
from models.teachers.zero_shot import ZeroShot, ZeroShotConfig
from models.text.bert import BERTConfig
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
    ignores_same_image: bool = False  # phrases about one image are no negatives of each other; for epoch: images
    temperature: float = 0.5  # of the vision-guided alignment
    weight_diversity: float = 0.01
    weight_text: float = 1.0
    weight_vision: float = 1.0
    text: TextConfig | BERTConfig = field(default_factory=TextConfig)  # with a prior: the prior's
    prior: ZeroShotConfig | None = None
    weight_restraint: float = 3.0  # with a prior: of the mean square of what is added to it
    calibration: tuple[float, float] | None = None  # as `benchmarks.calibration` measures it; by default the prior's

    def __post_init__(self) -> None:
        if self.prior is not None:
            object.__setattr__(self, "text", self.prior.text)
        elif isinstance(self.text, BERTConfig) or CLASS_WORDS in self.experts:
            named = "text is that of BERT" if isinstance(self.text, BERTConfig) else f"experts has {CLASS_WORDS}"
            raise ConfigError(
                f"dvin: {named}, which only a prior brings. Allowed: prior: {{}} beside it. Fix params.yaml, then run: "
                "dvc repro"
            )
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

    def __init__(self, config: DViNConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.expert_names = tuple(config.experts)
        self.box_scales = config.scales
        width = config.fused_width
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.prior = None if config.prior is None else freeze(ZeroShot(config.prior, vocabulary))
        self.location_weight = self.prior.location_weight if self.prior else None
        self.calibration = config.calibration or (self.prior.calibration if self.prior else None)
        self.text_encoder = (
            None if isinstance(config.text, BERTConfig) else GRUAttentionEncoder(config.text, vocabulary)
        )
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
        if self.prior:
            self.matcher.start_at_zero()
        self.text_decoder = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.text.width)
        )
        self.expert_code, self.detector_code = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.code_width)) for _ in range(2)
        )

    def loss(self, batch: TeacherBatch) -> dict[str, Float[Tensor, ""]]:
        """`contrast`, `diversity`, `text_guided` and `vision_guided`; with a prior also `restraint`."""
        text = self._read(batch)
        detector = self._detector_maps(batch)
        routing = self.route(detector[self._first], text)
        experts = self._chosen_maps(batch, routing.chosen, detector)
        fused = {scale: self._mix(x, experts[scale], routing) for scale, x in detector.items()}
        kept_cells = kept_anchors(batch.detections, self.config.keep_fraction)[0][batch.image_of]
        anchors = gather_cells(maps_to_cells(fused, self.config.scales), kept_cells)
        if self.config.compat == "paper":  # the mixture, not the expert alone, is aligned with the detector
            expert_mean = anchors.mean(1)
            detector_mean = gather_cells(maps_to_cells(detector, self.config.scales), kept_cells).mean(1)
        else:
            expert_mean, detector_mean = experts[self._first].mean((1, 3, 4)), detector[self._first].mean((2, 3))
        image_of = images_of_all(batch) if self.config.ignores_same_image else None
        terms, decoded = self._contrast(batch, anchors, text, image_of), self.text_decoder(anchors)
        codes = self.expert_code(expert_mean), self.detector_code(detector_mean)
        probabilities, decoded, text, codes = gathered((routing.probabilities, decoded, text, codes))
        return terms | {
            "diversity": diversity_loss(probabilities),
            "text_guided": text_guided_loss(decoded, text),
            "vision_guided": vision_guided_loss(*codes, temperature=self.config.temperature, image_of=image_of),
        }

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms; contrast has factor one."""
        factors = {
            "diversity": self.config.weight_diversity,
            "text_guided": self.config.weight_text,
            "vision_guided": self.config.weight_vision,
        }
        return factors | {"restraint": self.config.weight_restraint} if self.prior else factors

    def _contrast(
        self, batch: TeacherBatch, anchors: Tensor, text: Tensor, image_of: Tensor | None
    ) -> dict[str, Tensor]:
        """Anchor-text contrast, of scores beside the prior's where there is one."""
        if self.prior is None:
            return {"contrast": self.matcher.loss(anchors, text, negatives=self.config.negatives, image_of=image_of)}
        prior = self.prior.scores(gathered_texts(batch.texts), batch.detections, batch.experts)
        prior = prior[:, batch.image_of]
        images = len(batch.detections.boxes)
        return self.matcher.primed_loss(anchors, text, prior=prior, image_of=batch.image_of, images=images)

    @torch.no_grad()
    def match(self, batch: TeacherBatch) -> Candidates:
        """The kept cells' boxes, weighed for every phrase; asks for the maps of the chosen experts only."""
        text = self._read(batch)
        detector = self._detector_maps(batch)
        routing = self.route(detector[self._first], text)
        experts = self._chosen_maps(batch, routing.chosen, detector)
        fused = {scale: self._mix(x, experts[scale], routing) for scale, x in detector.items()}
        kept_cells, boxes = kept_anchors(batch.detections, self.config.keep_fraction)
        anchors = gather_cells(maps_to_cells(fused, self.config.scales), kept_cells[batch.image_of])
        prior = self.prior.match(batch).scores if self.prior else None
        return self.matcher.match(anchors, text, boxes=boxes[batch.image_of], experts=routing.chosen, prior=prior)

    def _read(self, batch: TeacherBatch) -> Float[Tensor, "phrases text_width"]:
        """A vector of each phrase; with a prior of what it says beside places, which are read by rule."""
        if self.prior is None:
            assert self.text_encoder is not None
            return self.text_encoder(batch.tokens).flat
        return self.prior.sentences(beside_places(batch.texts))

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

    def _chosen_maps(self, batch: TeacherBatch, chosen: Tensor, detector: dict[Scale, Tensor]) -> dict[Scale, Tensor]:
        """Projected maps of the chosen experts by scale, [phrases, top, width, h, w]; an expert sees each image once.

        They come to the detector's grids by pooling; on a finer grid than their own they are repeated.
        """
        maps = {scale: x.new_zeros(len(x), chosen.shape[1], *x.shape[1:]) for scale, x in detector.items()}
        device = chosen.device
        chosen, image_of = chosen.cpu(), batch.image_of.cpu()  # the one wait for a GPU; what follows asks it nothing
        for index, name in enumerate(self.expert_names):
            rows, rank = (chosen == index).nonzero(as_tuple=True)
            if len(rows):
                images, place = image_of[rows].unique(return_inverse=True)
                rows, rank, place = (x.to(device, non_blocking=True) for x in (rows, rank, place))
                of_scale = self._expert_cells(batch, name, images, {s: x.shape[2:] for s, x in detector.items()})
                for scale, cells in of_scale.items():
                    projected = self.project[self._projection_of[name]](cells).permute(0, 3, 1, 2)
                    values = projected.index_select(0, place).to(maps[scale].dtype)
                    maps[scale] = maps[scale].index_put((rows, rank), values)
        return maps

    def _expert_cells(
        self, batch: TeacherBatch, name: str, images: Tensor, sizes: dict[Scale, torch.Size]
    ) -> dict[Scale, Float[Tensor, "images h w channels"]]:
        """One expert's features on the grid of each scale."""
        if name == CLASS_WORDS:
            assert self.prior is not None
            maps = class_word_maps(batch.detections, self.prior.category_words(), self.box_scales)
            maps = {scale: maps[scale][images] for scale in sizes}
        else:
            whole = batch.experts.maps(name, images)
            maps = {scale: F.adaptive_avg_pool2d(whole, size) for scale, size in sizes.items()}
        cells = {scale: x.permute(0, 2, 3, 1) for scale, x in maps.items()}
        if self.config.compat != "fixed":
            return cells
        # experts differ in scale by orders of magnitude
        return {scale: F.layer_norm(x, x.shape[-1:]) for scale, x in cells.items()}

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
