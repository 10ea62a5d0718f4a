"""Pairs of images and phrases to the rows that the stages would write for them, whoever answers."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd
import torch

from deixis.core.records import read_json
from deixis.roles import Segmenter
from models.frozen.segmenters import load_segmenter


class Answers(Protocol):
    """A trained model with the frozen ones that it needs."""

    is_teacher: ClassVar[bool]  # its answers are labels
    inputs: tuple[Path, ...]  # files that decide the answers, beside the checkpoint and the frozen models

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Those texts that are too long for the model, which reads their beginning only."""
        ...

    def rows(self, pairs: pd.DataFrame, images: pd.DataFrame, root: Path, *, with_masks: bool) -> pd.DataFrame:
        """Answer every pair, each by itself, in the order given.

        Args:
            pairs: sample_id, image_id, expression, text, split; rows of one image stand together.
            images: image_id, path (below `root`), width, height, of these images.
            with_masks: Whether the segmenter is asked where the box does not depend on it.
        """
        ...


class Checkpoint:
    """A checkpoint's card, the device, and the segmenter that goes with it."""

    def __init__(self, folder: Path, weights: Path, device: torch.device) -> None:
        self._weights = weights
        self.device = device
        self.card: dict[str, Any] = read_json(folder / "config.json", made_by="train_teacher")

    @cached_property
    def segmenter(self) -> Segmenter:
        """Loaded when the first mask is wanted."""
        return load_segmenter(self._weights / "segmenter", self.device)


def paths_of(images: pd.DataFrame, root: Path) -> dict[Any, Path]:
    """Where each image lies."""
    return {image_id: root / path for image_id, path in images[["image_id", "path"]].itertuples(index=False)}
