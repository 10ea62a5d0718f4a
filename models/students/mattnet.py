"""MAttNet (Yu et al. 2018): two-stage student. Ranks boxes by how they look, where they lie and beside what.

The published regions come from a Mask R-CNN: its 1024-channel map for attributes, the 2048-channel map behind it for
the rest. Here they are RoIAlign of the students' frozen backbone, the middle map for the former and the coarse map for
the latter, both before the spatial pyramid, which would mix neighbours in. Everything behind the regions is as
published, 12,931,164 parameters and 512 per word. Differences in training are in docs/methods.md; the one that the loop
shared by all students brings is that gradients are clipped by their norm (published: each element at 0.1).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from deixis.batches.candidates import cut_to, nearest_candidates
from deixis.boxes import cxcywh_to_xyxy
from deixis.core.config import STRICT
from deixis.core.frozen import freeze
from deixis.language.text import PAD
from deixis.types import Grounding, StudentBatch, Suppression
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet, as_input
from models.student_blocks.regions import Objects, draw_negatives, location, neighbours, offsets
from models.text.modular_attention import ModularAttention, ModularPhrases, ModularTextConfig

POOLED = 7  # cells along a side of a region
SCALE = 20.0  # to which normalised features are stretched at first; learned
# Words that are no attributes; nouns may be some, for want of a tagger.
CLOSED_CLASS = frozenset(
    "a an and are at be behind by for from has he her his in is it its of on one or she that the their there they this "
    "to which who whose with".split()
)


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


class Regions(NamedTuple):
    """The valid candidates of a batch, one after the other."""

    objects: Objects
    middle: Float[Tensor, "regions cells middle_width"]
    coarse: Float[Tensor, "regions cells coarse_width"]
    location: Float[Tensor, "regions 5"]
    around: Float[Tensor, "regions around"]  # offsets of neighbours of the same category, 0 where there are no more
    context: Int[Tensor, "regions neighbours"]  # numbers of regions
    context_valid: Bool[Tensor, "regions neighbours"]
    context_offsets: Float[Tensor, "regions neighbours 5"]


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
        self.subject = Subject(config)
        self.location = Location(config)
        self.relation = Relation(config)
        self.register_buffer("attribute_words", torch.full((config.attributes,), PAD))
        self.register_buffer("attribute_weights", torch.zeros(config.attributes))

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {"attributes": self.config.weight_attributes}

    def choose_attributes(self, texts: Sequence[str]) -> None:
        """Take the most frequent words of the training phrases as attributes; call once, before training."""
        counts = Counter(word for text in texts for word in text.split() if word not in CLOSED_CLASS)
        common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: self.config.attributes]
        number = {word: token for token, word in enumerate(self.vocabulary)}
        self.attribute_words[: len(common)] = torch.tensor([number[word] for word, _ in common])
        self.attribute_weights[: len(common)] = attribute_weights([count for _, count in common])

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`visual_rank`, `language_rank` and `attributes`, each per label that has a candidate near enough."""
        assert batch.boxes_norm is not None and batch.candidates is not None
        regions, phrases = self._look(batch), self.language(batch.tokens)
        given = batch.candidates
        corners = cxcywh_to_xyxy(batch.boxes_norm) * batch.squares.shape[-1]
        target = cut_to(corners, batch.content_xyxy[batch.image_of])
        nearest = nearest_candidates(target, given.boxes_xyxy[batch.image_of], given.valid[batch.image_of])
        learned = nearest.iou >= self.config.min_iou
        positive = region_numbers(given.valid)[batch.image_of, nearest.place]
        own = Objects(batch.image_of, regions.objects.category[positive], positive)
        share = self.config.same_category_share
        wrong_region = draw_negatives(own, regions.objects, same_category_share=share)
        wrong_phrase = draw_negatives(own, own, same_category_share=share, usable=learned)
        phrase = torch.arange(len(positive), device=positive.device)
        region_of_pair = torch.cat([positive, wrong_region.place, positive])
        phrase_of_pair = torch.cat([phrase, phrase, wrong_phrase.place])
        seen = self.subject.describe(regions)
        scores = self._score(regions, seen, phrases, region_of_pair, phrase_of_pair)
        right, *wrong = scores.float().chunk(3)
        visual, language = (rank_term(right, negative, margin=self.config.margin) for negative in wrong)
        count = learned.sum().clamp(min=1)
        return {
            "visual_rank": (visual * (learned & wrong_region.found)).sum() / count,
            "language_rank": (language * (learned & wrong_phrase.found)).sum() / count,
            "attributes": self._attribute_loss(seen.attribute_logits[positive], batch.tokens, positive, learned),
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
        """Regions of all pictures; without gradient, since all that makes them is frozen."""
        assert batch.candidates is not None
        boxes, category = batch.candidates.boxes_xyxy, batch.candidates.categories
        valid, count = batch.candidates.valid, self.config.neighbours
        image = valid.nonzero()[:, 0]
        boxes, category = boxes[valid], category[valid]
        _, middle, coarse = self.backbone.stage_maps(as_input(batch.squares))
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

    def _score(self, regions: Regions, seen: "Seen", phrases: ModularPhrases, region: Tensor, phrase: Tensor) -> Tensor:
        """How well regions match phrases, pair by pair: the modules' scores under the phrase's weights."""
        said = phrases.vectors[phrase].unbind(1)
        parts = (
            self.subject(seen, said[0], region),
            self.location(regions, said[1], region),
            self.relation(regions, said[2], region),
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


class Seen(NamedTuple):
    """What the subject module sees in each region, whatever the phrase."""

    cells: Float[Tensor, "regions cells values"]  # coarse features, then attribute features
    attribute_logits: Float[Tensor, "regions attributes"]


class Subject(nn.Module):
    """What a region looks like, where in it the phrase looks."""

    def __init__(self, config: MAttNetConfig) -> None:
        super().__init__()
        _, middle, coarse = config.backbone.widths[-3:]
        width, phrase = config.width, config.text.width
        self.middle_scale, self.coarse_scale, self.phrase_scale = map(ScaledNorm, (middle, coarse, phrase))
        self.fuse = nn.Linear(middle + coarse, width)
        self.fuse_norm = nn.BatchNorm1d(width)
        self.attributes = nn.Sequential(nn.Dropout(config.attribute_dropout), nn.Linear(width, config.attributes))
        self.look = nn.Linear(coarse + width, width)  # with `listen` one layer of cell and phrase
        self.listen = nn.Linear(phrase, width, bias=False)
        self.place = nn.Linear(width, 1)
        self.match = Matching(coarse + width, config)

    def describe(self, regions: Regions) -> Seen:
        """Cells of every region, and its attributes."""
        middle, coarse = self.middle_scale(regions.middle), self.coarse_scale(regions.coarse)
        fused = self.fuse(torch.cat([coarse, middle], -1))
        fused = self.fuse_norm(fused.flatten(0, 1)).view_as(fused).relu()
        return Seen(torch.cat([coarse, fused], -1), self.attributes(fused.mean(1)))

    def forward(self, seen: Seen, said: Float[Tensor, "pairs width"], region: Int[Tensor, " pairs"]) -> Tensor:
        """Scores of pairs in [-1, 1]."""
        hidden = torch.tanh(self.look(seen.cells)[region] + self.listen(self.phrase_scale(said))[:, None])
        weights = self.place(hidden).softmax(1).transpose(1, 2)
        return self.match((weights @ seen.cells[region]).squeeze(1), said)


class Location(nn.Module):
    """Where a region lies in the picture and among the nearest of its category."""

    def __init__(self, config: MAttNetConfig) -> None:
        super().__init__()
        around = 5 * config.neighbours
        self.scale, self.around_scale = ScaledNorm(5), ScaledNorm(around)
        self.project = nn.Linear(5 + around, config.width)
        self.match = Matching(config.width, config)

    def forward(self, regions: Regions, said: Float[Tensor, "pairs width"], region: Int[Tensor, " pairs"]) -> Tensor:
        """Scores of pairs in [-1, 1]."""
        where = torch.cat([self.scale(regions.location), self.around_scale(regions.around)], -1)
        return self.match(self.project(where)[region], said)


class Relation(nn.Module):
    """Beside what a region lies: its best matching neighbour; 0 where it has none."""

    def __init__(self, config: MAttNetConfig) -> None:
        super().__init__()
        coarse = config.backbone.widths[-1]
        self.scale, self.offset_scale = ScaledNorm(coarse), ScaledNorm(5)
        self.project = nn.Linear(coarse + 5, config.width)
        self.match = Matching(config.width, config)

    def forward(self, regions: Regions, said: Float[Tensor, "pairs width"], region: Int[Tensor, " pairs"]) -> Tensor:
        """Scores of pairs in [-1, 1]."""
        valid = regions.context_valid[region]
        pair, slot = valid.nonzero(as_tuple=True)
        looks = self.scale(regions.coarse.mean(1))[regions.context[region[pair], slot]]
        beside = torch.cat([looks, self.offset_scale(regions.context_offsets[region[pair], slot])], -1)
        return best_context(self.match(self.project(beside), said[pair]), valid)


class Matching(nn.Module):
    """Cosine of a region's and a phrase's images in a joint space."""

    def __init__(self, visual: int, config: MAttNetConfig) -> None:
        super().__init__()

        def embed(width: int) -> nn.Sequential:
            joint = config.width
            return nn.Sequential(
                nn.Linear(width, joint), RowNorm(joint), nn.ReLU(), nn.Dropout(config.dropout),
                nn.Linear(joint, joint), RowNorm(joint),
            )  # fmt: skip

        self.visual, self.phrase = embed(visual), embed(config.text.width)

    def forward(self, seen: Float[Tensor, "pairs visual"], said: Float[Tensor, "pairs width"]) -> Tensor:
        """Cosines of pairs."""
        return F.cosine_similarity(self.visual(seen).float(), self.phrase(said).float(), dim=-1)


class RowNorm(nn.BatchNorm1d):
    """BatchNorm, except that fewer than two rows, which have no spread, are normalised as in evaluation."""

    def forward(self, input: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Normalise each column."""
        if len(input) < 2:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class ScaledNorm(nn.Module):
    """Vectors of length 1, then a learned factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((width,), SCALE))

    def forward(self, x: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Normalise the last axis."""
        return F.normalize(x.float(), dim=-1) * self.factor


def rank_term(right: Float[Tensor, " pairs"], wrong: Float[Tensor, " pairs"], *, margin: float) -> Tensor:
    """By how much the right partner's score fails to lead by the margin."""
    return F.relu(margin + wrong - right)


def best_context(scores: Float[Tensor, " contexts"], valid: Bool[Tensor, "pairs slots"]) -> Float[Tensor, " pairs"]:
    """Highest score of each pair's contexts, 0 for pairs without any; in the release pads score 0 and may win.

    Args:
        scores: Of the valid slots alone, row by row.
    """
    padded = scores.new_full(valid.shape, -torch.inf).masked_scatter(valid, scores)
    return torch.where(valid.any(1), padded.amax(1), 0.0)


def attribute_weights(counts: Sequence[int]) -> Float[Tensor, " attributes"]:
    """From 1 for the most frequent attribute to 10 for the rarest, along 1 / sqrt(count)."""
    rarity = torch.tensor(counts, dtype=torch.float32).rsqrt()
    if not len(rarity):
        return rarity
    span = rarity.max() - rarity.min()
    return 1 + 9 * (rarity - rarity.min()) / (span if span > 0 else 1.0)


def region_numbers(valid: Bool[Tensor, "images candidates"]) -> Int[Tensor, "images candidates"]:
    """Number of each valid candidate among all valid ones, row by row."""
    return (valid.flatten().long().cumsum(0) - 1).view_as(valid)


def _pool(maps: Tensor, boxes: Tensor, image: Tensor, side: int) -> Float[Tensor, "regions cells channels"]:
    rois = torch.cat([image[:, None].to(boxes.dtype), boxes], 1)
    pooled = roi_align(maps.float(), rois, POOLED, maps.shape[-1] / side, sampling_ratio=2, aligned=True)
    return pooled.flatten(2).transpose(1, 2)
