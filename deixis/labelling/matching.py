"""A trained teacher's candidates of every phrase of a table, weighed for it and brought to stored pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from deixis.batches.features import ArrayStore, chunks
from deixis.batches.samples import PairReader
from deixis.core.progress import track
from deixis.core.runtime import autocast
from deixis.imaging.letterbox import Letterbox
from deixis.imaging.masks import RLE, encode_mask
from deixis.language.location_words import beside_places
from deixis.language.tokens import knows_texts
from deixis.roles import Weigher, ZeroShotTeacher, prior_of

OWN_MASK_THRESHOLD = 0.5


@dataclass(frozen=True)
class Matched:
    """All phrases of a table, weighed: [phrases, candidates]; boxes in stored pixels."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor  # [phrases, candidates, classes], half precision
    objectness: Tensor
    experts: list[list[str]]
    masks: list[RLE] | None  # the teacher's own, one per phrase
    sizes_wh: Tensor  # [phrases, 2], of the stored image

    def boxes_as_shares(self) -> Tensor:
        """Corners from 0 to 1."""
        return (self.boxes / self.sizes_wh.repeat(1, 2)[:, None]).clamp(0, 1)


class Matcher:
    """A trained teacher and the features it reads, stored or made when asked for."""

    def __init__(
        self,
        model: Weigher,
        stores: Mapping[str, ArrayStore],
        letterboxes: Mapping[int, Letterbox],
        batch_size: int,
        device: torch.device,
    ) -> None:
        self._model = model
        self._stores = stores
        self._letterboxes = letterboxes
        self._batch_size = batch_size
        self._device = device

    @property
    def location_weight(self) -> float | None:
        """The teacher's own, of place beside its scores."""
        return self._model.location_weight

    @property
    def calibration(self) -> tuple[float, float] | None:
        """From the log-odds of the teacher's scores to those of being right."""
        return self._model.calibration

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Whether the teacher knows a word of each text that says more than a place."""
        named = beside_places(texts)
        by_rule = prior_of(self._model) or self._model
        if isinstance(by_rule, ZeroShotTeacher):
            return by_rule.knows(named)
        return knows_texts(named, self._model.vocabulary)

    def weigh(self, table: pd.DataFrame) -> Matched:
        """Weigh the candidates of every row's image for the row's `text`."""
        reader = PairReader(
            table,
            stores=self._stores,
            vocabulary=self._model.vocabulary,
            length=self._model.text_length,
            device=self._device,
            scales=self._model.box_scales,
        )
        parts: list[tuple[Tensor, ...]] = []
        experts: list[list[str]] = []
        masks: list[RLE] = []
        batches = list(chunks(range(len(table)), self._batch_size))
        for numbers in track(batches, "labelling", total=len(batches)):
            with autocast(self._device):
                output = self._model.match(reader.batch(numbers))
            scores, objectness, classes = output.scores.float(), output.objectness.float(), output.classes.float()
            boxes = output.boxes_xyxy.float().cpu()
            frames = [self._letterboxes[image_id] for image_id in table["image_id"].iloc[list(numbers)]]
            stored = torch.stack([frame.boxes_to_image(box) for frame, box in zip(frames, boxes, strict=True)])
            sizes = torch.tensor([[frame.width, frame.height] for frame in frames])
            parts.append((stored, scores.cpu(), classes.half().cpu(), objectness.cpu(), sizes))
            if output.masks is not None:
                masks += masks_to_image(output.masks, frames)
            experts += [[self._model.expert_names[choice] for choice in row] for row in output.experts.tolist()]
        boxes, scores, classes, objectness, sizes = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return Matched(boxes, scores, classes, objectness, experts, masks or None, sizes)


def masks_to_image(soft: Tensor, frames: Sequence[Letterbox]) -> list[RLE]:
    """A teacher's own masks, in stored pixels."""
    side = frames[0].side
    squares = F.interpolate(soft.float()[:, None], size=(side, side), mode="bilinear")[:, 0].cpu().numpy()
    pairs = zip(frames, squares, strict=True)
    return [encode_mask(frame.mask_to_image(square) > OWN_MASK_THRESHOLD) for frame, square in pairs]
