"""Students from params.yaml, and back from their checkpoints."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deixis.batches.candidates import CandidateSource, CandidateTable
from deixis.batches.student_data import PhraseReader
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.registry import resolve
from models.loading.trained import load_trained
from models.students import STUDENTS


def student_config(name: str, params: Path) -> Any:
    """The student's `model` section, checked."""
    return read_section(params, f"students.{name}.model", resolve(STUDENTS, name, role="student").Config)


def build_student(name: str, config: Any, vocabulary: list[str]) -> Any:
    """A fresh student."""
    return resolve(STUDENTS, name, role="student")(config, vocabulary)


def load_student(folder: Path, device: torch.device) -> Any:
    """A trained student, frozen."""
    return load_trained(folder, role="student", registry=STUDENTS, device=device)


def read_candidates(
    student: Any, path: Path | None, images: pd.DataFrame, *, source: CandidateSource
) -> CandidateTable | None:
    """The boxes that a ranking student may answer with; None for students that draw their own.

    Raises:
        DataError: If the student needs candidates and no file is named.
    """
    if not student.needs_candidates:
        return None
    if path is None:
        raise DataError(
            f"{type(student).__name__} ranks candidate boxes, and no file of them was named. Allowed: --candidates "
            "with the dataset's detections.parquet, or with its objects.parquet to choose among "
            "annotated boxes. Run: dvc repro list_candidates"
        )
    return CandidateTable(path, images, source=source, suppression=student.config.suppression)


def phrase_reader(
    student: Any,
    table: pd.DataFrame,
    images: pd.DataFrame,
    *,
    image_root: Path,
    device: torch.device,
    candidates: CandidateTable | None,
    cache_bytes: int = 1 << 30,
) -> PhraseReader:
    """Phrases and pictures in the size and vocabulary that the student reads; tables as `PhraseReader` takes them."""
    return PhraseReader(
        table,
        images,
        image_root=image_root,
        side=student.config.input_size,
        vocabulary=student.vocabulary,
        length=student.config.text.length,
        device=device,
        candidates=candidates,
        cache_bytes=cache_bytes,
    )
