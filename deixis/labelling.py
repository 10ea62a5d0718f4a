"""What a trained teacher answers: every candidate weighed, words of place weighed in, one box chosen per phrase."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import pandas as pd
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.progress import track
from deixis.core.runtime import autocast
from deixis.distinct_objects import choose_distinct
from deixis.features import chunks
from deixis.imaging.letterbox import Letterbox
from deixis.imaging.masks import RLE, encode_mask
from deixis.place_scores import MATCH_SHARE, choose_place_weight, look_scores, place_scores
from deixis.place_words import parse_place_words
from deixis.types import TeacherBatch

OWN_MASK_THRESHOLD = 0.5


@dataclass(frozen=True, config=STRICT)
class LabelParams:
    """What decides beside the match, and when a label is good enough to learn from; never by looking at truth."""

    # score: place words weigh in; filter: labels that they contradict are refused; off: they are words like others
    place_words: Literal["score", "filter", "off"] = "score"
    # distinct: phrases about different objects of an image get different ones; which phrases are about one object is
    # then supervision beyond pairs, and the labels say so
    same_image: Literal["free", "distinct"] = "free"
    coverage: float = 1.0  # of the training labels, those with the largest margins
    min_margin: float | None = None  # of the label's score over the second-best; none: whatever it is
    min_side: float = 0.0  # pixels of the stored image
    batch_size: int = 128


class Reader(Protocol):
    """Phrases with the frozen models' view of their images."""

    def batch(self, rows: Sequence[int]) -> TeacherBatch:
        """Some phrases, by position."""
        ...


@dataclasses.dataclass(frozen=True)
class Matched:
    """All phrases of a table, weighed: [phrases, candidates]; boxes in stored pixels."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor  # [phrases, candidates, classes], half precision
    objectness: Tensor
    experts: list[list[str]]
    masks: list[RLE] | None  # the teacher's own, one per phrase
    sizes_wh: Tensor  # [phrases, 2], of the stored image

    def boxes_in_pictures(self) -> Tensor:
        """Corners from 0 to 1."""
        return (self.boxes / self.sizes_wh.repeat(1, 2)[:, None]).clamp(0, 1)


class Matcher:
    """A trained teacher and what it reads.

    Args:
        read: Rows of a table with image_id and text -> their batches.
        letterboxes: By image id, the frame in which the frozen models see the image.
    """

    def __init__(
        self,
        model: Any,
        read: Callable[[pd.DataFrame], Reader],
        letterboxes: dict[int, Letterbox],
        batch_size: int,
        device: torch.device,
    ) -> None:
        self._model = model
        self._read = read
        self._letterboxes = letterboxes
        self._batch_size = batch_size
        self._device = device

    def weigh(self, table: pd.DataFrame) -> Matched:
        """Weigh the candidates of every row's image for the row's `text`."""
        reader = self._read(table)
        parts: list[tuple[Tensor, ...]] = []
        experts: list[list[str]] = []
        masks: list[RLE] = []
        batches = list(chunks(range(len(table)), self._batch_size))
        for numbers in track(batches, "labelling", total=len(batches)):
            with autocast(self._device):
                found = self._model.match(reader.batch(numbers))
            scores, objectness, classes = found.scores.float(), found.objectness.float(), found.classes.float()
            boxes = found.boxes_xyxy.float().cpu()
            frames = [self._letterboxes[image_id] for image_id in table["image_id"].iloc[list(numbers)]]
            stored = torch.stack([frame.boxes_to_image(box) for frame, box in zip(frames, boxes, strict=True)])
            sizes = torch.tensor([[frame.width, frame.height] for frame in frames])
            parts.append((stored, scores.cpu(), classes.half().cpu(), objectness.cpu(), sizes))
            if found.masks is not None:
                masks += masks_to_image(found.masks, frames)
            experts += [[self._model.expert_names[choice] for choice in row] for row in found.experts.tolist()]
        boxes, scores, classes, objectness, sizes = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return Matched(boxes, scores, classes, objectness, experts, masks or None, sizes)


def masks_to_image(soft: Tensor, frames: Sequence[Letterbox]) -> list[RLE]:
    """A teacher's own masks, in stored pixels."""
    side = frames[0].side
    squares = F.interpolate(soft.float()[:, None], size=(side, side), mode="bilinear")[:, 0].cpu().numpy()
    pairs = zip(frames, squares, strict=True)
    return [encode_mask(frame.mask_to_image(square) > OWN_MASK_THRESHOLD) for frame, square in pairs]


def with_place_words(matched: Matched, table: pd.DataFrame, matcher: Matcher) -> tuple[Tensor, dict[str, Any]]:
    """Match scores with place words weighed in where a phrase has some, and how their weight was found.

    What a phrase says beside its place, and the landmark that it names, are put to the teacher as phrases.
    """
    words = [parse_place_words(text) for text in table["text"]]
    rows = [row for row, found in enumerate(words) if not found.is_empty]
    facts: dict[str, Any] = {"phrases": len(rows)}
    if not rows:
        return matched.scores, facts
    is_train = (table["split"] == "train").to_numpy()[rows]
    is_train |= not is_train.any()  # a set without a training split: all of its phrases choose the weight
    said, about = [words[row] for row in rows], table.iloc[rows]
    rest = [w.rest or text for w, text in zip(said, about["text"], strict=True)]
    own = matcher.weigh(about.assign(text=rest))
    looks = look_scores(own.scores, own.objectness, own.classes.float(), rest)
    landmark = own.scores
    if any(found.landmark for found in said):
        landmark = matcher.weigh(about.assign(text=[w.landmark or w.rest for w in said])).scores
    boxes = own.boxes_in_pictures()
    place = place_scores(said, boxes, own.scores, landmark)
    train = torch.from_numpy(is_train)
    weight, separation = choose_place_weight(looks[train], place[train], boxes[train])
    facts |= {"weight": weight, "separation": {str(key): round(value, 6) for key, value in separation.items()}}
    unit = own.scores.std(1, keepdim=True) / MATCH_SHARE  # back to the scale of the match scores
    scores = matched.scores.clone()
    scores[rows] = own.scores.amax(1, keepdim=True) + unit * (looks + weight * place)
    return scores, facts


def choose_boxes(matched: Matched, scores: Tensor, table: pd.DataFrame, rules: LabelParams) -> tuple[Tensor, Tensor]:
    """What decides, [phrases, candidates], and the number of each phrase's box.

    Args:
        scores: Match scores with place words weighed in.
        table: One row per phrase: image_id, and the group of phrases about one object.
    """
    decisive = matched.scores if rules.place_words == "filter" else scores
    if rules.same_image == "distinct":
        return decisive, choose_distinct(decisive, matched.boxes, table["image_id"].tolist(), table["group"].tolist())
    return decisive, decisive.argmax(1)
