"""The values that pass between the parts of a run."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int, UInt8
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from deixis.core.config import STRICT

Scale = Literal["coarse", "middle", "fine"]  # of a detector's maps
SCALES: tuple[Scale, ...] = ("coarse", "middle", "fine")


def _each_once(scales: tuple[Scale, ...]) -> tuple[Scale, ...]:
    if len(set(scales)) < len(scales):
        raise ValueError("each scale may be named once")
    return scales


CLASS_WORDS = "class_words"  # the expert that is made of the detector's answers, and has no store
CLIP_CROPS = "clip_crops"  # the one that looks at the detector's boxes, most confident first: a row of its map is a box
Scales = Annotated[tuple[Scale, ...], Field(min_length=1), AfterValidator(_each_once)]


@dataclass(frozen=True)
class Detections:
    """What a detector says about a batch of images.

    Attributes:
        maps: Feature maps, coarse to fine, each [batch, channels, side, side].
        boxes: Boxes of the scales that were asked for (the coarse one, by default), one scale after the other:
            [batch, cells, boxes per cell, 5 + classes]: cx, cy, w, h in pixels of the letterboxed input, objectness
            and class scores in [0, 1]. Cells of a scale are in row-major order.
        cells: Numbers of the cells whose boxes these are, most confident first, counted over the maps of all scales,
            coarse to fine: what suppression left of them (`deixis.anchors.Survivors`). None: of every cell.
        colours: Shares of the named colours (`deixis.imaging.colour_names`) in parts of each surviving box.
    """

    maps: tuple[Tensor, ...]
    boxes: Float[Tensor, "batch cells per_cell values"]
    cells: Int[Tensor, "batch cells"] | None = None
    colours: Float[Tensor, "batch cells parts colours"] | None = None


@runtime_checkable
class ExpertMaps(Protocol):
    """Feature maps of frozen experts for the images of a batch, made or read only when asked for."""

    def maps(self, expert: str, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows channels h w"]:
        """Maps of one expert for some images of the batch."""
        ...


@dataclass(frozen=True)
class BoxMasks:
    """A frozen segmenter's masks of detector boxes, over the whole input at any resolution.

    Attributes:
        cells: Numbers of the coarse cells whose best boxes were segmented, ascending.
        masks: One per cell.
        content_xyxy: Where each image lies in the square; the rest is padding.
    """

    cells: Int[Tensor, "images kept"]
    masks: Bool[Tensor, "images kept h w"]
    content_xyxy: Float[Tensor, "images 4"]


@dataclass(frozen=True)
class TeacherBatch:
    """Phrases, and what frozen models say about their images, each image once.

    Attributes:
        tokens: Token ids of each phrase.
        image_of: Row of each phrase's image in `detections`, `experts` and `box_masks`.
        box_masks: For teachers that need them; None otherwise, and when labelling.
        epoch: Of training, from 0.
        texts: The phrases themselves, normalised, for teachers that read words by rule.
    """

    tokens: Int[Tensor, "phrases length"]
    image_of: Int[Tensor, " phrases"]
    detections: Detections
    experts: ExpertMaps
    box_masks: BoxMasks | None = None
    epoch: int = 0
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidates:
    """The boxes that a teacher weighed for each phrase, in pixels of the letterboxed input.

    Attributes:
        scores: How well each box matches its phrase; any scale, higher is better.
        objectness: Detector objectness of each box, in [0, 1].
        classes: Detector scores of its categories for each box, in [0, 1].
        experts: Indices of the experts that were routed to, most probable first; no columns where there are none.
        masks: The teacher's own mask of each phrase, in [0, 1] over the whole input at any resolution; None for
            teachers that draw none.
    """

    boxes_xyxy: Float[Tensor, "phrases candidates 4"]
    scores: Float[Tensor, "phrases candidates"]
    objectness: Float[Tensor, "phrases candidates"]
    classes: Float[Tensor, "phrases candidates classes"]
    experts: Int[Tensor, "phrases top"]
    masks: Float[Tensor, "phrases h w"] | None = None


@settings(frozen=True, config=STRICT)
class Suppression:
    """Which detections go because a more confident one covers the same place; annotations all stay."""

    iou: float = 0.3  # above it the less confident box goes; 1 keeps all
    by_category: bool = True  # only boxes of one category suppress each other


@dataclass(frozen=True)
class CandidateBoxes:
    """The boxes of each image that a ranking student may answer with, padded to the same number.

    Attributes:
        boxes_xyxy: In pixels of the letterboxed input.
        categories: Numbers of their categories, whatever they are called.
        valid: False for padding; every image has at least one that is true.
    """

    boxes_xyxy: Float[Tensor, "images candidates 4"]
    categories: Int[Tensor, "images candidates"]
    valid: Bool[Tensor, "images candidates"]


LookAtImages = Callable[[Tensor, int], Sequence[Tensor]]  # images as they are read, number of the view -> their maps


@runtime_checkable
class ImageMemory(Protocol):
    """What frozen layers made of the images of a batch, as far as it was kept since an earlier batch."""

    def views(self, shown: Int[Tensor, " images"], *, of: int) -> "ImageMemory":
        """The same images, each in one of several views (turned or not) of each that there was."""
        ...

    def maps(self, look: LookAtImages, *, kind: Hashable, kinds: int) -> list[Tensor]:
        """Maps of all images of the batch, without gradient; `look` is asked for those alone that are not kept.

        Args:
            kind: What else decides the maps, such as the side that images are resized to; one of `kinds` in all, which
                have equal shares of the room.
        """
        ...


@dataclass(frozen=True)
class StudentBatch:
    """Images, each once, and phrases about them; in training also the box that each phrase should give.

    Attributes:
        squares: Letterboxed images, RGB bytes.
        content_xyxy: Where the image lies in the square; the rest is padding.
        tokens: Token ids of each phrase.
        image_of: Row of each phrase's image.
        boxes_norm: Targets as cx, cy, w, h over the side of the square; None when predicting.
        masks: Targets as shares of covered pixels in [0, 1], for students that learn masks; all zero where a label
            has none.
        candidates: For students that rank candidates; None for all others.
        memory: Of what frozen layers made of the images; None where nothing is kept, as in prediction.
    """

    squares: UInt8[Tensor, "images 3 side side"]
    content_xyxy: Float[Tensor, "images 4"]
    tokens: Int[Tensor, "phrases length"]
    image_of: Int[Tensor, " phrases"]
    boxes_norm: Float[Tensor, "phrases 4"] | None = None
    masks: Float[Tensor, "phrases side side"] | None = None
    candidates: CandidateBoxes | None = None
    memory: ImageMemory | None = None


@dataclass(frozen=True)
class Reading:
    """How a teacher of response maps reads images and phrases.

    Attributes:
        side: Of its square input, pixels.
        stretch: Whether an image fills the square, whatever its proportions; it is letterboxed otherwise.
        vocabulary: Words or pieces.
        length: Tokens; longer phrases are cut.
        keep_end: Whether a phrase in pieces keeps its last token where it is cut.
    """

    side: int
    vocabulary: Sequence[str]
    length: int
    stretch: bool = False
    keep_end: bool = True


@dataclass(frozen=True)
class CueReading:
    """How a teacher of response maps reads cues.

    Attributes:
        count: Per phrase, at least one.
        padding: What stands in where a phrase has fewer (`deixis.cues.reading.pad_cues`).
    """

    count: int
    padding: Literal["cycle", "last", "full"]


@dataclass(frozen=True)
class MapBatch:
    """Images, each once, and phrases about them, for teachers that answer with response maps.

    Attributes:
        squares: Images in their squares, RGB bytes.
        tokens: Token ids of each phrase.
        image_of: Row of each phrase's image.
        group_of: Number of the object that each phrase names.
        cues: Token ids of each phrase's cues, coarse to fine, for teachers that read cues.
        proposals: Masks that may be objects, over the whole square at any resolution; all false where an image has
            fewer than others. For teachers that weigh proposals, in training.
        epoch: Of training, from 0.
    """

    squares: UInt8[Tensor, "images 3 side side"]
    tokens: Int[Tensor, "phrases length"]
    image_of: Int[Tensor, " phrases"]
    group_of: Int[Tensor, " phrases"]
    cues: Int[Tensor, "phrases cues length"] | None = None
    proposals: Bool[Tensor, "images proposals h w"] | None = None
    epoch: int = 0


@dataclass(frozen=True)
class ResponseMaps:
    """Where a teacher sees what each phrase names: raw scores over the square input; above zero belongs."""

    scores: Float[Tensor, "phrases h w"]


@dataclass(frozen=True)
class Grounding:
    """A student's answer to each phrase.

    Attributes:
        boxes_xyxy: In pixels of the letterboxed input.
        scores: Higher is better; constant for students that have none.
        masks: In [0, 1] per pixel of the letterboxed input; None for students that answer with boxes alone.
        mask_threshold: A pixel belongs to the mask above this.
        points_xy: In pixels of the letterboxed input, for students that point; others mean the middle of the box.
    """

    boxes_xyxy: Float[Tensor, "phrases 4"]
    scores: Float[Tensor, " phrases"]
    masks: Float[Tensor, "phrases side side"] | None = None
    mask_threshold: float = 0.5
    points_xy: Float[Tensor, "phrases 2"] | None = None
