"""A teacher without training: the detector's boxes, weighed by the words of the phrase. The field's zero-shot baseline.

The plan is ReCLIP's (Subramanian et al., ACL 2022): propose boxes, score each for what the phrase says of its thing,
and read relations by rule. Where ReCLIP asks CLIP about crops, class words are compared here: the phrase's noun and
its head phrase with the names of the detector's categories, through a sentence encoder. A published CLIP may look at
the crops beside that (`crops`). To that come the detector's
confidence, colour words against the pixels, words of size, and other things that the phrase names beside its own.
Places are read where those of every teacher are (`deixis.labelling.location_knowledge`).

Every score is a sum of log-plausibilities. docs/photographs.md has the share of each part, measured.
"""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.anchors import best_boxes
from deixis.boxes import paired_iou
from deixis.core.config import STRICT
from deixis.core.errors import ConfigError, DataError
from deixis.core.frozen import freeze
from deixis.core.records import read_json
from deixis.cues.things import Things, read_things
from deixis.imaging.colour_names import PARTS
from deixis.language.category_names import names_of
from deixis.language.colour_words import parse_colour_words
from deixis.language.size_words import parse_size_words
from deixis.language.tokens import knows_texts
from deixis.language.word_pieces import split_vocabulary
from deixis.types import CLIP_CROPS, SCALES, Candidates, Detections, ExpertMaps, Scales, TeacherBatch
from models.frozen.starts import start_part
from models.text.bert import BERTConfig
from models.text.clip_phrases import CLIPPhrases, CLIPPhrasesConfig
from models.text.sentences import SentenceEncoder

PROMPT = "a photo of a {}"
SAME_THING = 0.6  # IoU above which two boxes are one thing, which does not stand beside itself
NEAR = 0.25  # of the smaller box's side: the gap at which two things are no longer close


@dataclass(frozen=True, config=STRICT)
class ZeroShotConfig:
    """What is weighed; the numbers were chosen on the training phrases of docs/photographs.md."""

    num_classes: int = 80
    num_names: int = 278  # of categories, with their other names (`deixis.language.category_names`)
    share_noun: float = 0.3  # of the phrase's noun in class words; the rest is its head phrase's
    temperature: float = 0.1  # cosines to logits
    unsure: float = 0.02  # probability that a box is of the named kind, or a thing at all, whatever the detector says
    weight_confidence: float = 1.0
    weight_colour: float = 1.0
    weight_area: float = 0.1  # of the logarithm of a box's area: people speak of what is large
    weight_size: float = 0.2  # of the same, where a word says large or small
    weight_other: float = 1.0  # of other things that the phrase names
    other_from: float = 0.75  # cosine from which another thing is one of the detector's categories
    weight_crops: float = 0.25  # of CLIP, where `crops` is set; chosen by nobody: docs/photographs.md says how to
    weight_place: float = 4.0
    calibration: tuple[float, float] = (1.26, 1.65)  # of the log-odds that the chosen thing is the right one
    known_from: float = 0.55  # cosine with some category from which a phrase is about something that can be found
    text: BERTConfig = field(
        default_factory=lambda: BERTConfig(length=32, width=384, layers=6, heads=12, feedforward=1536)
    )
    crops: CLIPPhrasesConfig | None = None  # where a published CLIP looks at the boxes, too


class ZeroShot(nn.Module):
    """Teacher: nothing is learned, neither from pairs nor from boxes."""

    Config = ZeroShotConfig
    needs_box_masks = False
    box_scales: Scales = SCALES

    names: Tensor
    category_of: Tensor

    def __init__(self, config: ZeroShotConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.expert_names: tuple[str, ...] = () if config.crops is None else (CLIP_CROPS,)
        self.starts = ("bert", *self.expert_names)  # its pretrained parts, by folder of frozen models
        self.location_weight, self.calibration = config.weight_place, config.calibration
        pieces, clip_pieces = split_vocabulary(vocabulary)
        self.sentences = SentenceEncoder(config.text, pieces)
        self.phrases = None if config.crops is None else freeze(CLIPPhrases(config.crops, clip_pieces))
        self.register_buffer("names", torch.zeros(config.num_names, config.text.width))
        self.register_buffer("category_of", torch.arange(config.num_names).clamp(max=config.num_classes - 1))

    def start_from(self, weights: Path, device: torch.device) -> None:
        """Take the text encoder from the frozen models, and the names of categories from the detector's card.

        Raises:
            DataError: If one is missing, or the names are not as many as the settings say.
        """
        start_part(self.sentences.bert, weights, "bert")
        if self.phrases:
            self.phrases.start_from(weights)
        self.to(device)
        self.sentences.forget()
        path = weights / "detector" / "config.json"
        categories = read_json(path, made_by="import_weights@detector").get("categories", [])
        named = [(name, number) for number, category in enumerate(categories) for name in names_of(category)]
        if (len(categories), len(named)) != (self.config.num_classes, self.config.num_names):
            raise DataError(
                f"{path}: names {len(categories)} categories, {len(named)} names in all; expected "
                f"{self.config.num_classes} and {self.config.num_names}. Set teachers.zero_shot.model.num_classes and "
                "num_names so, or import a detector whose card lists its categories; then run: dvc repro"
            )
        self.names.copy_(self.sentences([PROMPT.format(name) for name, _ in named]))
        self.category_of.copy_(torch.tensor([number for _, number in named]))

    @torch.no_grad()
    def match(self, batch: TeacherBatch) -> Candidates:
        """The boxes that suppression left, weighed for every phrase: log-plausibilities."""
        scores = self.scores(batch.texts, batch.detections, batch.experts)
        best, image_of = best_boxes(batch.detections.boxes), batch.image_of
        rows = torch.arange(len(scores), device=scores.device)
        none = torch.empty(len(scores), 0, dtype=torch.long, device=scores.device)
        return Candidates(
            best.corners[image_of], scores[rows, image_of], best.objectness[image_of], best.classes[image_of], none
        )

    @torch.no_grad()
    def scores(
        self, texts: Sequence[str], detections: Detections, experts: ExpertMaps
    ) -> Float[Tensor, "phrases images candidates"]:
        """How plausible each box of each image is as what each phrase means; logarithms.

        Raises:
            ConfigError: If the boxes are not what suppression left of all scales.
        """
        if detections.colours is None:
            raise ConfigError(
                "zero_shot weighs boxes of all scales after suppression, and these features hold boxes of cells. "
                "Write extraction.survivors: {} in params.yaml, then run: dvc repro"
            )
        best = best_boxes(detections.boxes)
        things = [read_things(text) for text in texts]
        # all at once, to be remembered: a call takes as long for one text as for ten
        self.sentences([PROMPT.format(words) for thing in things for words in (thing.noun, thing.head, *thing.others)])
        shares = best.classes / best.classes.sum(-1, keepdim=True).clamp(min=1e-6)
        named = torch.einsum("ick,pk->pic", shares, self.named_categories(things))
        scores = (named + self.config.unsure).log()
        scores = scores + self.config.weight_confidence * (best.objectness + self.config.unsure).log()
        seen = detections.colours.float()
        scores = scores + self.config.weight_colour * self._colour_scores(texts, things, seen)
        scores = scores + self._size_scores(things, best.corners)
        if self.phrases:
            scores = scores + self._crop_scores(self.phrases, things, experts, len(best.corners))
        others = self._other_scores(things, best.corners, shares, best.objectness, seen)
        return scores + self.config.weight_other * others

    def named_categories(self, things: Sequence[Things]) -> Float[Tensor, "phrases classes"]:
        """Probability of each of the detector's categories to be what a phrase names; even where it names no kind."""
        noun = self._likeness([PROMPT.format(thing.noun) for thing in things])
        head = self._likeness([PROMPT.format(thing.head) for thing in things])
        mixed = self.config.share_noun * noun + (1 - self.config.share_noun) * head
        probabilities = (mixed / self.config.temperature).softmax(1)
        is_named = torch.tensor([thing.is_named for thing in things], device=noun.device)
        return torch.where(is_named[:, None], probabilities, 1 / self.config.num_classes)

    def category_words(self) -> Float[Tensor, "classes width"]:
        """Of each of the detector's categories, what its names mean together: of length one."""
        sums = self.names.new_zeros(self.config.num_classes, self.names.shape[1])
        return F.normalize(sums.index_add(0, self.category_of, self.names), dim=-1)

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Whether each phrase names something like one of the detector's categories, or no kind of thing at all."""
        things = [read_things(text) for text in texts]
        prompts = [PROMPT.format(words) for thing in things for words in (thing.noun, thing.head)]
        likeness = self._likeness(prompts).amax(1).view(-1, 2).amax(1)
        spelled = knows_texts([f"{thing.noun} {thing.head}" for thing in things], self.sentences.vocabulary)
        return [
            (like >= self.config.known_from and is_spelled) or not thing.is_named
            for thing, like, is_spelled in zip(things, likeness.tolist(), spelled, strict=True)
        ]

    def _likeness(self, texts: Sequence[str]) -> Float[Tensor, "texts classes"]:
        """Cosine of each text with the most similar name of each category."""
        cosines = self.sentences(texts) @ self.names.T
        likeness = cosines.new_full((len(texts), self.config.num_classes), -1.0)
        return likeness.scatter_reduce(1, self.category_of.expand_as(cosines), cosines, "amax")

    def _colour_scores(
        self, texts: Sequence[str], things: Sequence[Things], seen: Float[Tensor, "images candidates parts colours"]
    ) -> Float[Tensor, "phrases images candidates"]:
        """How much of what each phrase's colour words say is seen in each box, as powers of ten; 0 without such."""
        parts = list(PARTS)
        scores = seen.new_zeros(len(texts), *seen.shape[:2])
        for row, (text, thing) in enumerate(zip(texts, things, strict=True)):
            said = parse_colour_words(text, thing.head)
            if said:
                shares = torch.stack([seen[:, :, parts.index(part), colour] for colour, part in said])
                scores[row] = (shares.mean(0) + 0.05).log10()
        return scores

    def _crop_scores(
        self, phrases: CLIPPhrases, things: Sequence[Things], experts: ExpertMaps, images: int
    ) -> Float[Tensor, "phrases images candidates"]:
        """How well CLIP finds that each box shows what its phrase says beside places."""
        said = phrases([PROMPT.format(thing.head) for thing in things])
        seen = experts.maps(CLIP_CROPS, torch.arange(images, device=said.device))[..., 0]
        cosines = torch.einsum("pw,iwc->pic", said, seen)
        return self.config.weight_crops / phrases.config.temperature * cosines

    def _size_scores(
        self, things: Sequence[Things], corners: Float[Tensor, "images candidates 4"]
    ) -> Float[Tensor, "phrases images candidates"]:
        """How well the size of each box fits what its phrase says; beside that, large ones first."""
        area = (corners[..., 2:] - corners[..., :2]).clamp(min=1).prod(-1).log()
        said = corners.new_tensor([parse_size_words(thing.head) for thing in things])
        return (self.config.weight_area + self.config.weight_size * said[:, None, None]) * area

    def _other_scores(
        self, things: Sequence[Things], corners: Tensor, shares: Tensor, confidence: Tensor, seen: Tensor
    ) -> Float[Tensor, "phrases images candidates"]:
        """How surely each box stands close to the other things that its phrase names, each from 0 to 1."""
        scores = confidence.new_zeros(len(things), *confidence.shape)
        near = closeness(corners)
        for row, thing in enumerate(things):
            for other in thing.others:
                likeness = self._likeness([PROMPT.format(other)])[0]
                if likeness.max() >= self.config.other_from:
                    kinds = (likeness / (self.config.temperature / 2)).softmax(0)
                    is_other = (shares @ kinds) * confidence.sqrt()
                    for colour, part in parse_colour_words(other, other):
                        is_other = is_other * (seen[:, :, list(PARTS).index(part), colour] + 0.1)
                    close = (near * is_other[:, None]).amax(-1)
                    scores[row] += close / close.amax(-1, keepdim=True).clamp(min=0.05)
        return scores


def closeness(boxes_xyxy: Float[Tensor, "images n 4"]) -> Float[Tensor, "images n n"]:
    """How close two things stand, from 0 to 1: one within the other 1, touching about a half; 0 for one thing twice."""
    one, other = boxes_xyxy[:, :, None], boxes_xyxy[:, None]
    sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=1)
    gaps = torch.maximum(one[..., :2], other[..., :2]) - torch.minimum(one[..., 2:], other[..., 2:])
    areas = sides.prod(-1)
    smaller = torch.minimum(areas[:, :, None], areas[:, None])
    shared = (-gaps).clamp(min=0).prod(-1) / smaller
    near = torch.exp(-gaps.clamp(min=0).norm(dim=-1) / (NEAR * smaller.sqrt() + 1))
    shape = (*near.shape, 4)
    same = paired_iou(one.expand(shape), other.expand(shape)) > SAME_THING
    return (near * (0.5 + 0.5 * shared.clamp(max=1))).masked_fill(same, 0.0)
