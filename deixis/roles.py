"""The roles that models play: all that a caller reads of one. Interfaces only: nothing is inherited from here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from deixis.imaging.letterbox import Framing
from deixis.types import (
    CLASS_WORDS,
    Candidates,
    CueReading,
    Detections,
    Grounding,
    MapBatch,
    Reading,
    ResponseMaps,
    Scales,
    StudentBatch,
    Suppression,
    TeacherBatch,
)


@runtime_checkable
class Settings(Protocol):
    """Of a method that reads phrases; a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def text(self) -> object: ...  # of the text encoder


@runtime_checkable
class MapSettings(Settings, Protocol):
    """Of a teacher of response maps."""

    @property
    def objects_per_image(self) -> int: ...  # of a training batch, one phrase each


@runtime_checkable
class Detector(Protocol):
    """Frozen: images to feature maps and boxes per cell."""

    Config: ClassVar[Any]

    framing: Framing  # how its images come into the square

    @property
    def input_size(self) -> int: ...  # side of its square input, pixels
    @property
    def strides(self) -> tuple[int, int, int]: ...  # pixels per cell, coarse to fine
    def detect(self, squares: UInt8[Tensor, "batch 3 side side"], *, scales: Scales = ("coarse",)) -> Detections: ...


@runtime_checkable
class Expert(Protocol):
    """Frozen: images to one feature map."""

    Config: ClassVar[Any]

    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch channels h w"]: ...


@runtime_checkable
class Weigher(Protocol):
    """Weighs the detector's boxes for each phrase, learned or not."""

    Config: ClassVar[Any]
    needs_box_masks: ClassVar[bool]
    expert_names: tuple[str, ...]
    box_scales: Scales  # of the detector, whose boxes it weighs
    vocabulary: list[str]
    text_length: int  # tokens; longer phrases are cut
    # of place beside its scores, which are log-plausibilities then; None: what the phrases of a set teach
    location_weight: float | None
    # slope and offset from the log-odds of its scores to those of being right, where the scores are such; None: unknown
    calibration: tuple[float, float] | None

    def match(self, batch: TeacherBatch) -> Candidates: ...


@runtime_checkable
class Teacher(Weigher, Protocol):
    """Learns from image-phrase pairs alone."""

    @property
    def term_weights(self) -> dict[str, float]: ...  # factors of the loss terms; 1 where absent
    def loss(self, batch: TeacherBatch) -> dict[str, Float[Tensor, ""]]: ...


@runtime_checkable
class ZeroShotTeacher(Weigher, Protocol):
    """Is not trained: all it knows are frozen models."""

    @property
    def starts(self) -> tuple[str, ...]: ...  # folders of frozen models that `start_from` reads, beside the detector
    def start_from(self, weights: Path, device: torch.device) -> None: ...
    def knows(self, texts: Sequence[str]) -> list[bool]: ...  # whether each names anything that the detector finds


@runtime_checkable
class Primed(Protocol):
    """Optional, of teachers: its scores are added to those of one without training. Without it they stand alone."""

    prior: ZeroShotTeacher | None


def prior_of(teacher: Weigher) -> ZeroShotTeacher | None:
    """The teacher without training whose scores this one's are added to."""
    return teacher.prior if isinstance(teacher, Primed) else None


def stored_experts(teacher: Weigher) -> tuple[str, ...]:
    """Those of a teacher's experts, and of its prior's, whose maps are read from a store."""
    prior = prior_of(teacher)
    names = (*teacher.expert_names, *(prior.expert_names if prior else ()))
    return tuple(name for name in names if name != CLASS_WORDS)


@runtime_checkable
class Student(Protocol):
    """Learns from boxes, and masks where it needs them, whoever drew them; answers with the same."""

    Config: ClassVar[Any]
    has_score: ClassVar[bool]
    needs_masks: ClassVar[bool]
    needs_candidates: ClassVar[bool]  # and batches of whole images; such a student is a RankingStudent
    onnx_obstacle: ClassVar[str | None]  # why `predict` is more than one graph of tensor operations; None: it is one
    vocabulary: list[str]
    text_length: int  # tokens; longer phrases are cut
    input_size: int  # side of its square input, pixels

    @property
    def starts(self) -> tuple[str, ...]: ...  # its pretrained parts; the folder of frozen models has the same name
    @property
    def term_weights(self) -> dict[str, float]: ...
    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]: ...
    def predict(self, batch: StudentBatch) -> Grounding: ...


@runtime_checkable
class RankingStudent(Student, Protocol):
    """A student with `needs_candidates`: answers with one of the boxes that it is given."""

    min_iou: float  # of a label's box and its nearest candidate; labels below teach nothing
    phrases_per_object: int  # of a training batch, at most
    suppression: Suppression  # of the candidates

    def choose_attributes(self, texts: Sequence[str]) -> None: ...


@runtime_checkable
class MapTeacher(Protocol):
    """Learns from images and phrases alone, with no detector; says where in the image each phrase is."""

    Config: ClassVar[Any]
    judge: str  # the frozen image-text model that may choose among its maps; the folder has the same name

    @property
    def cue_reading(self) -> CueReading | None: ...  # None: it reads no cues
    @property
    def needs_proposals(self) -> bool: ...
    @property
    def needs_groups(self) -> tuple[str, str] | None: ...  # what parts phrases of different objects: setting, its "off"
    @property
    def reading(self) -> Reading: ...
    @property
    def starts(self) -> tuple[str, ...]: ...  # folders of frozen models that `start_from` reads
    @property
    def term_weights(self) -> dict[str, float]: ...
    def start_from(self, weights: Path, device: torch.device) -> None: ...
    def loss(self, batch: MapBatch) -> dict[str, Float[Tensor, ""]]: ...
    def respond(self, batch: MapBatch) -> ResponseMaps: ...


@runtime_checkable
class Segmenter(Protocol):
    """Frozen: boxes or points to masks in stored pixels, and the quality the model expects of each.

    One that understands boxes alone refuses the rest by a ConfigError.
    """

    Config: ClassVar[Any]

    def segment(
        self, image: np.ndarray, boxes_xyxy: Float[Tensor, "boxes 4"], *, best_of_three: bool = False
    ) -> tuple[Bool[np.ndarray, "boxes h w"], Float[np.ndarray, " boxes"]]: ...
    def segment_points(
        self, image: np.ndarray, points_xy: Float[Tensor, "points 2"]
    ) -> tuple[Bool[np.ndarray, "points h w"], Float[np.ndarray, " points"]]: ...
    def propose(
        self, image: np.ndarray, *, points_per_side: int, min_quality: float, min_stability: float
    ) -> Bool[np.ndarray, "proposals h w"]: ...


ParameterGroups = list[tuple[list[nn.Parameter], float]]  # parameters with a factor on the learning rate


@runtime_checkable
class SlowParts(Protocol):
    """Optional, of whatever trains: some parts learn slower than others. Without it all learn at the full rate."""

    def parameter_groups(self) -> ParameterGroups: ...


@runtime_checkable
class Stretches(Protocol):
    """Optional, of students: images are stretched to their square. Without it they are letterboxed."""

    stretch: bool


def parameter_groups(model: object) -> ParameterGroups | None:
    """What `fit` takes as `groups`."""
    return model.parameter_groups() if isinstance(model, SlowParts) else None


def module_of(model: object) -> nn.Module:
    """A model as the torch module that every model also is, which a Protocol cannot say."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{type(model).__name__} is no torch.nn.Module. Every model is one: derive its class from it")
    return model
