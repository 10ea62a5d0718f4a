"""The values that pass between the parts of a run."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Detections:
    """What a detector says about a batch of images.

    Attributes:
        maps: Feature maps, coarse to fine, each [batch, channels, side, side].
        boxes: Boxes of the coarse scale, [batch, cells, boxes per cell, 5 + classes]: cx, cy, w, h in pixels of
            the letterboxed input, objectness and class scores in [0, 1]. Cells are in row-major order.
    """

    maps: tuple[Tensor, ...]
    boxes: Float[Tensor, "batch cells per_cell values"]


@runtime_checkable
class ExpertMaps(Protocol):
    """Feature maps of frozen experts for the images of a batch, made or read only when asked for."""

    def maps(self, expert: str, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows channels h w"]:
        """Maps of one expert for some images of the batch."""
        ...


@dataclass(frozen=True)
class TeacherBatch:
    """Phrases, and what frozen models say about their images, each image once.

    Attributes:
        tokens: Token ids of each phrase.
        image_of: Row of each phrase's image in `detections` and `experts`.
    """

    tokens: Int[Tensor, "phrases length"]
    image_of: Int[Tensor, " phrases"]
    detections: Detections
    experts: ExpertMaps


@dataclass(frozen=True)
class PseudoLabels:
    """One box per phrase, in pixels of the letterboxed input.

    Attributes:
        boxes_xyxy: Best box of each phrase.
        scores: Match score of the best candidate; any scale, higher is better.
        margins: Best minus second-best match score.
        runner_up_xyxy: Box of the second-best candidate.
        objectness: Detector objectness of the chosen box, in [0, 1].
        experts: Indices of the experts that were routed to, most probable first; no columns where there are none.
    """

    boxes_xyxy: Float[Tensor, "batch 4"]
    scores: Float[Tensor, " batch"]
    margins: Float[Tensor, " batch"]
    runner_up_xyxy: Float[Tensor, "batch 4"]
    objectness: Float[Tensor, " batch"]
    experts: Int[Tensor, "batch top"]


@dataclass(frozen=True)
class StudentBatch:
    """Pictures, each once, and phrases about them; in training also the box that each phrase should give.

    Attributes:
        squares: Letterboxed pictures, RGB bytes.
        content_xyxy: Where the picture lies in the square; the rest is padding.
        tokens: Token ids of each phrase.
        image_of: Row of each phrase's picture.
        boxes_norm: Targets as cx, cy, w, h over the side of the square; None when predicting.
        weights: Trust in each target, in [0, 1]; None for full trust.
    """

    squares: UInt8[Tensor, "images 3 side side"]
    content_xyxy: Float[Tensor, "images 4"]
    tokens: Int[Tensor, "phrases length"]
    image_of: Int[Tensor, " phrases"]
    boxes_norm: Float[Tensor, "phrases 4"] | None = None
    weights: Float[Tensor, " phrases"] | None = None


@dataclass(frozen=True)
class Grounding:
    """A student's answer: one box per phrase in pixels of the letterboxed input, and a score where it has one."""

    boxes_xyxy: Float[Tensor, "batch 4"]
    scores: Float[Tensor, " batch"]
