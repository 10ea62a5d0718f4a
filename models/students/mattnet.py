"""MAttNet (Yu et al. 2018): two-stage student. Ranks boxes by how they look, where they lie and beside what.

The published regions come from a Mask R-CNN: its 1024-channel map for attributes, the 2048-channel map behind it for
the rest. Here they are RoIAlign of the students' frozen backbone, the middle map for the former and the coarse map for
the latter, both before the spatial pyramid, which would mix neighbours in. Everything behind the regions is as
published, 12,931,164 parameters and 512 per word. Differences in training are in docs/methods.md; the one that the loop
shared by all students brings is that gradients are clipped by their norm (published: each element at 0.1).
"""

from collections.abc import Sequence
from dataclasses import field

import torch
from jaxtyping import Bool, Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from deixis.batches.candidates import nearest_candidates
from deixis.boxes import cut_to, cxcywh_to_xyxy
from deixis.core.config import STRICT
from deixis.core.frozen import freeze
from deixis.language.text import PAD
from deixis.training.ranks import gathered
from deixis.types import Grounding, StudentBatch, Suppression
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet, as_input
from models.student_blocks.attributes import attribute_weights, frequent_words
from models.student_blocks.region_modules import Appearance, JointSpace, Location, Relation, Subject
from models.student_blocks.regions import (
    Objects,
    Regions,
    draw_negatives,
    gathered_regions,
    location,
    neighbours,
    offsets,
    region_numbers,
)
from models.text.modular_attention import ModularAttention, ModularPhrases, ModularTextConfig

POOLED = 7  # cells along a side of a region


@dataclass(frozen=True, config=STRICT)
class MAttNetConfig:
    """Sizes and switches; the defaults are the published model's, on SimREC's backbone."""

    input_size: int = 416
    backbone: CSPConfig = field(default_factory=CSPConfig)  # always frozen
    width: int = 512  # inside the modules, and of the joint space
    attributes: int = 50  # the most frequent words of the training phrases
    neighbours: int = 5  # of the location and relation modules
    dropout: float = 0.1  # of the joint space
    attribute_dropout: float = 0.2
    margin: float = 0.1
    same_category_share: float = 0.3  # of negatives, where the image has such
    weight_attributes: float = 1.0
    min_iou: float = 0.5  # of a label's box and its nearest candidate; labels below are dropped
    phrases_per_object: int = 3  # of a batch
    suppression: Suppression = field(default_factory=Suppression)
    text: ModularTextConfig = field(default_factory=ModularTextConfig)


class MAttNet(nn.Module):
    """Student: trains on the candidate that overlaps each label's box most, whoever drew the box."""

    Config = MAttNetConfig
    has_score = True
    needs_masks = False
    needs_candidates = True
    onnx_obstacle = "it ranks boxes of a detector, which is another network and not in its graph"
    starts = ("backbone",)

    def __init__(self, config: MAttNetConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.input_size = config.input_size
        self.min_iou, self.phrases_per_object = config.min_iou, config.phrases_per_object
        self.suppression = config.suppression
        self.backbone = freeze(CSPDarkNet(config.backbone))
        self.language = ModularAttention(config.text, vocabulary, modules=3)
        _, middle, coarse = config.backbone.widths[-3:]
        joint, phrase = JointSpace(config.width, config.dropout), config.text.width
        self.subject = Subject(
            middle, coarse, phrase,
            attributes=config.attributes, attribute_dropout=config.attribute_dropout, joint=joint,
        )  # fmt: skip
        self.location = Location(phrase, neighbours=config.neighbours, joint=joint)
        self.relation = Relation(coarse, phrase, joint=joint)
        self.register_buffer("attribute_words", torch.full((config.attributes,), PAD))
        self.register_buffer("attribute_weights", torch.zeros(config.attributes))

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {"attributes": self.config.weight_attributes}

    def choose_attributes(self, texts: Sequence[str]) -> None:
        """Take the most frequent words of the training phrases as attributes; call once, before training."""
        common = frequent_words(texts, self.config.attributes)
        number = {word: token for token, word in enumerate(self.vocabulary)}
        self.attribute_words[: len(common)] = torch.tensor([number[word] for word, _ in common])
        self.attribute_weights[: len(common)] = attribute_weights([count for _, count in common])

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`visual_rank`, `language_rank` and `attributes`, each per label that has a candidate near enough."""
        own, phrases = self._look(batch), self.language(batch.tokens)
        positives, learned = self._learn(batch, own)
        regions, positives = gathered_regions(own, positives, images=len(batch.squares))
        phrases, learned, tokens = gathered((phrases, learned, batch.tokens))
        positive = positives.region
        share = self.config.same_category_share
        wrong_region = draw_negatives(positives, regions.objects, same_category_share=share)
        wrong_phrase = draw_negatives(positives, positives, same_category_share=share, usable=learned)
        phrase = torch.arange(len(positive), device=positive.device)
        region_of_pair = torch.cat([positive, wrong_region.place, positive])
        phrase_of_pair = torch.cat([phrase, phrase, wrong_phrase.place])
        appearance = gathered(self.subject.describe(own))
        scores = self._score(regions, appearance, phrases, region_of_pair, phrase_of_pair)
        right, *wrong = scores.float().chunk(3)
        visual, language = (rank_term(right, negative, margin=self.config.margin) for negative in wrong)
        count = learned.sum().clamp(min=1)
        return {
            "visual_rank": (visual * (learned & wrong_region.exists)).sum() / count,
            "language_rank": (language * (learned & wrong_phrase.exists)).sum() / count,
            "attributes": self._attribute_loss(appearance.attribute_logits[positive], tokens, positive, learned),
        }

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """The candidate with the highest score, in [-1, 1]."""
        regions, phrases = self._look(batch), self.language(batch.tokens)
        assert batch.candidates is not None
        of_phrase = batch.candidates.valid[batch.image_of]
        phrase, place = of_phrase.nonzero(as_tuple=True)
        region = region_numbers(batch.candidates.valid)[batch.image_of[phrase], place]
        pairs = self._score(regions, self.subject.describe(regions), phrases, region, phrase)
        scores = torch.full(of_phrase.shape, -torch.inf, device=pairs.device)
        scores[phrase, place] = pairs.float()
        best = scores.max(1)
        return Grounding(batch.candidates.boxes_xyxy[batch.image_of, best.indices], best.values)

    @torch.no_grad()
    def _look(self, batch: StudentBatch) -> Regions:
        """Regions of all images; without gradient, since all that makes them is frozen."""
        assert batch.candidates is not None
        boxes, category = batch.candidates.boxes_xyxy, batch.candidates.categories
        valid, count = batch.candidates.valid, self.config.neighbours
        image = valid.nonzero()[:, 0]
        boxes, category = boxes[valid], category[valid]
        middle, coarse = (
            batch.memory.maps(self._stage_maps, kind="stages", kinds=1)
            if batch.memory
            else self._stage_maps(batch.squares)
        )
        rivals = neighbours(boxes, image, category, count=count, same_category_only=True)
        context = neighbours(boxes, image, category, count=count, same_category_only=False)
        around = offsets(boxes[:, None].expand(-1, count, 4), boxes[rivals.region]) * rivals.valid[..., None]
        side = batch.squares.shape[-1]
        return Regions(
            objects=Objects(image, category, torch.arange(len(image), device=image.device)),
            middle=_pool(middle, boxes, image, side),
            coarse=_pool(coarse, boxes, image, side),
            location=location(boxes, batch.content_xyxy[image]),
            around=around.flatten(1),
            context=context.region,
            context_valid=context.valid,
            context_offsets=offsets(boxes[:, None].expand(-1, count, 4), boxes[context.region]),
        )

    def _stage_maps(self, squares: Tensor, _view: int = 0) -> Sequence[Tensor]:
        return self.backbone.stage_maps(as_input(squares))[1:]

    def _learn(self, batch: StudentBatch, regions: Regions) -> tuple[Objects, Bool[Tensor, " phrases"]]:
        """The region nearest to each label's box as what its phrase is about, and whether it is near enough."""
        assert batch.boxes_norm is not None and batch.candidates is not None
        given = batch.candidates
        corners = cxcywh_to_xyxy(batch.boxes_norm) * batch.squares.shape[-1]
        target = cut_to(corners, batch.content_xyxy[batch.image_of])
        nearest = nearest_candidates(target, given.boxes_xyxy[batch.image_of], given.valid[batch.image_of])
        region = region_numbers(given.valid)[batch.image_of, nearest.place]
        return Objects(batch.image_of, regions.objects.category[region], region), nearest.iou >= self.config.min_iou

    def _score(
        self, regions: Regions, appearance: Appearance, phrases: ModularPhrases, region: Tensor, phrase: Tensor
    ) -> Tensor:
        """How well regions match phrases, pair by pair: the modules' scores under the phrase's weights."""
        vectors = phrases.vectors[phrase].unbind(1)
        parts = (
            self.subject(appearance, vectors[0], region),
            self.location(regions, vectors[1], region),
            self.relation(regions, vectors[2], region),
        )
        return (torch.stack(parts, -1) * phrases.weights[phrase]).sum(-1)

    def _attribute_loss(self, logits: Tensor, tokens: Tensor, positive: Tensor, learned: Tensor) -> Tensor:
        """Weighted BCE over attributes; what one phrase of an object says holds for all of them."""
        says = (tokens[:, :, None] == self.attribute_words).any(1) & (self.attribute_words != PAD) & learned[:, None]
        same = (positive[:, None] == positive).float()
        target = ((same @ says.float()) > 0).float()
        counts = learned & target.any(1)
        entropy = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        real = (self.attribute_words != PAD).sum().clamp(min=1)
        return (entropy * self.attribute_weights * counts[:, None]).sum() / (counts.sum().clamp(min=1) * real)


def rank_term(right: Float[Tensor, " pairs"], wrong: Float[Tensor, " pairs"], *, margin: float) -> Tensor:
    """By how much the right partner's score fails to lead by the margin."""
    return F.relu(margin + wrong - right)


def _pool(maps: Tensor, boxes: Tensor, image: Tensor, side: int) -> Float[Tensor, "regions cells channels"]:
    rois = torch.cat([image[:, None].to(boxes.dtype), boxes], 1)
    pooled = roi_align(maps.float(), rois, POOLED, maps.shape[-1] / side, sampling_ratio=2, aligned=True)
    return pooled.flatten(2).transpose(1, 2)
