"""Students from params.yaml, and back from their checkpoints."""

from pathlib import Path
from typing import cast

import pandas as pd
import torch

from deixis.batches.candidates import CandidateSource, CandidateTable
from deixis.batches.student_data import PhraseReader
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.registry import resolve
from deixis.roles import RankingStudent, Settings, Stretches, Student
from models.loading.trained import load_trained
from models.students import STUDENTS


def student_config(name: str, params: Path) -> Settings:
    """The student's `model` section, checked."""
    return read_section(params, f"students.{name}.model", resolve(STUDENTS, name, role="student").Config)


def build_student(name: str, config: Settings, vocabulary: list[str]) -> Student:
    """A fresh student."""
    return resolve(STUDENTS, name, role="student")(config, vocabulary)


def load_student(folder: Path, device: torch.device) -> Student:
    """A trained student, frozen."""
    return load_trained(folder, role="student", registry=STUDENTS, device=device)


def as_ranking(student: Student) -> RankingStudent | None:
    """The student as one that ranks candidates; None for those that draw their own boxes."""
    return cast(RankingStudent, student) if student.needs_candidates else None


def read_candidates(
    student: Student, path: Path | None, images: pd.DataFrame, *, source: CandidateSource
) -> CandidateTable | None:
    """The boxes that a ranking student may answer with; None for students that draw their own.

    Raises:
        DataError: If the student needs candidates and no file is named.
    """
    ranking = as_ranking(student)
    if ranking is None:
        return None
    if path is None:
        raise DataError(
            f"{type(student).__name__} ranks candidate boxes, and no file of them was named. Allowed: --candidates "
            "with the dataset's detections.parquet, or with its objects.parquet to choose among "
            "annotated boxes. Run: dvc repro list_candidates"
        )
    return CandidateTable(path, images, source=source, suppression=ranking.suppression)


def phrase_reader(
    student: Student,
    table: pd.DataFrame,
    images: pd.DataFrame,
    *,
    image_root: Path,
    device: torch.device,
    candidates: CandidateTable | None,
    cache_bytes: int = 1 << 30,
    room_for_maps: int = 0,
) -> PhraseReader:
    """Phrases and images in the size and vocabulary that the student reads; tables as `PhraseReader` takes them."""
    return PhraseReader(
        table,
        images,
        image_root=image_root,
        side=student.input_size,
        vocabulary=student.vocabulary,
        length=student.text_length,
        device=device,
        candidates=candidates,
        stretch=isinstance(student, Stretches) and student.stretch,
        cache_bytes=cache_bytes,
        room_for_maps=room_for_maps,
    )
