"""Answers of a student."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch

from answering.answers import Checkpoint, paths_of
from answering.live_store import LiveStore, detector_arrays
from answering.predictions import answer_phrases, with_prompted_masks
from deixis.batches.candidates import CandidateParams, CandidateTable, most_confident_boxes
from deixis.core.errors import ConfigError
from deixis.core.records import write_table
from deixis.imaging.images import ImageReader
from deixis.language.tokens import cut_texts
from models.frozen.detectors import load_detector
from models.loading.students import load_student, phrase_reader, read_candidates


class StudentAnswers:
    """A student; one that ranks boxes is given the detector's most confident ones."""

    is_teacher: ClassVar[bool] = False
    inputs: tuple[Path, ...] = ()

    def __init__(self, folder: Path, weights: Path, device: torch.device) -> None:
        self._at = Checkpoint(folder, weights, device)
        self._student = load_student(folder, device)
        self._detector = None
        if self._student.needs_candidates:
            if self._at.card.get("candidates") != "detections":
                raise ConfigError(
                    f"{folder}: this student chooses among annotated boxes, and new images have none. Allowed: "
                    "students that learned with the detector's boxes. Run: dvc repro train_student, and name that one"
                )
            self._detector = load_detector(weights / "detector", device)

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Those that are longer than its text encoder reads."""
        return cut_texts(texts, self._student.vocabulary, self._student.text_length)

    def rows(self, pairs: pd.DataFrame, images: pd.DataFrame, root: Path, *, with_masks: bool) -> pd.DataFrame:
        """Rows as predict_student writes them."""
        student = self._student
        reader = phrase_reader(
            student,
            pairs,
            images,
            image_root=root,
            device=self._at.device,
            candidates=self._candidates(images, root),
        )
        answers = answer_phrases(student, reader, pairs, self._at.device)
        if with_masks and "mask" not in answers:
            answers = with_prompted_masks(answers, self._at.segmenter, paths=paths_of(images, root))
        return answers

    def _candidates(self, images: pd.DataFrame, root: Path) -> CandidateTable | None:
        if self._detector is None:
            return None
        reader = ImageReader(images, root=root, side=self._detector.input_size, framing=self._detector.framing)
        store = LiveStore(detector_arrays(self._detector), reader, self._at.device)
        frames = {image_id: reader.letterbox(image_id) for image_id in images["image_id"]}
        listed = most_confident_boxes(store, frames, keep_fraction=CandidateParams().keep_fraction)
        with tempfile.TemporaryDirectory() as folder:
            write_table(listed, Path(folder) / "detections.parquet")
            return read_candidates(self._student, Path(folder) / "detections.parquet", images, source="detections")
