"""The roles that models play. Interfaces only: nothing is inherited from here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from deixis.types import (
    Candidates,
    Detections,
    Grounding,
    MapBatch,
    Reading,
    ResponseMaps,
    Scales,
    StudentBatch,
    TeacherBatch,
)


@runtime_checkable
class Detector(Protocol):
    """Frozen: pictures to feature maps and boxes per cell."""

    def detect(self, squares: UInt8[Tensor, "batch 3 side side"], *, scales: Scales = ("coarse",)) -> Detections: ...


@runtime_checkable
class Expert(Protocol):
    """Frozen: pictures to one feature map."""

    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch channels h w"]: ...


@runtime_checkable
class Teacher(Protocol):
    """Learns from image-phrase pairs alone; weighs the detector's boxes for each phrase."""

    Config: ClassVar[Any]
    needs_box_masks: ClassVar[bool]
    expert_names: tuple[str, ...]
    box_scales: Scales  # of the detector, whose boxes it weighs

    @property
    def term_weights(self) -> dict[str, float]: ...
    def loss(self, batch: TeacherBatch) -> dict[str, Float[Tensor, ""]]: ...
    def match(self, batch: TeacherBatch) -> Candidates: ...


@runtime_checkable
class Student(Protocol):
    """Learns from boxes, and masks where it needs them, whoever drew them; answers with the same."""

    Config: ClassVar[Any]
    has_score: ClassVar[bool]
    needs_masks: ClassVar[bool]
    needs_candidates: ClassVar[bool]  # and batches of whole images

    @property
    def starts(self) -> tuple[str, ...]: ...  # its pretrained parts; the folder of frozen models has the same name
    @property
    def term_weights(self) -> dict[str, float]: ...
    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]: ...
    def predict(self, batch: StudentBatch) -> Grounding: ...
    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]: ...


@runtime_checkable
class RankingStudent(Student, Protocol):
    """A student with `needs_candidates`: answers with one of the boxes that it is given."""

    def choose_attributes(self, texts: Sequence[str]) -> None: ...


@runtime_checkable
class MapTeacher(Protocol):
    """Learns from pictures and phrases alone, with no detector; says where in the picture each phrase is."""

    Config: ClassVar[Any]

    @property
    def cue_count(self) -> int: ...
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
    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]: ...


@runtime_checkable
class Segmenter(Protocol):
    """Frozen: boxes or points to masks in stored pixels, and the quality the model expects of each."""

    def segment(
        self, image: np.ndarray, boxes_xyxy: Float[Tensor, "boxes 4"]
    ) -> tuple[Bool[np.ndarray, "boxes h w"], Float[np.ndarray, " boxes"]]: ...
    def segment_points(
        self, image: np.ndarray, points_xy: Float[Tensor, "points 2"]
    ) -> tuple[Bool[np.ndarray, "points h w"], Float[np.ndarray, " points"]]: ...
    def propose(
        self, image: np.ndarray, *, points_per_side: int, min_quality: float, min_stability: float
    ) -> Bool[np.ndarray, "proposals h w"]: ...
