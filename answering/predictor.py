"""A trained model that answers phrases about one image: what `deixis predict` and `deixis.load` stand on."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from answering import ROLES
from answering.answers import Answers
from answering.cards import read_card
from answering.domains import KnownDomain
from answering.user_images import ImageLike, stored_image
from deixis.core.errors import ConfigError, DataError
from deixis.core.progress import quietly, say
from deixis.core.records import read_json
from deixis.core.registry import resolve
from deixis.core.runtime import Device, pick_device
from deixis.imaging.masks import RLE, decode_mask
from deixis.language.text import normalise
from models.map_teachers import MAP_TEACHERS
from models.students import STUDENTS
from models.teachers import TEACHERS

EMBEDDED = "embedded"
PHOTOGRAPHS = "yolox-nano"  # the card to begin with
METHODS = {"teacher": TEACHERS, "map_teacher": MAP_TEACHERS, "student": STUDENTS}  # by role


@dataclass(frozen=True)
class Answer:
    """What a model says to one phrase, in pixels of the image as it is looked at (EXIF orientation applied).

    Attributes:
        box: Corners x, y, x, y; right and bottom are exclusive. Not cut to the image. None where nothing was found.
        score: Higher is better; comparable among answers of one model.
        margin: Lead of the score over the second-best answer; None for students, which have none.
        rle: Mask as a COCO run-length code of `size` [height, width]; None where none was asked for or found.
        confidence: Probability of being right, for models that know one; None for others.
        reason: Why it would not be accepted as a label; empty where it would, and for students.
        mask_quality: IoU that the segmenter expects of its mask; None where it drew none.
        runner_up: The second-best box, of something else; None where there is none or the model knows none.
    """

    phrase: str
    box: tuple[float, float, float, float] | None
    score: float
    margin: float | None
    rle: RLE | None
    mask_quality: float | None
    confidence: float | None = None
    reason: str = ""
    runner_up: tuple[float, float, float, float] | None = None

    @property
    def mask(self) -> np.ndarray | None:
        """Bool [height, width]."""
        return None if self.rle is None else decode_mask(self.rle)


class Predictor:
    """A trained teacher, student or teacher of response maps, with the frozen encoders and the segmenter it needs.

    Args:
        folder: Its checkpoint, such as data/teachers/scenes_plus/dvin.
        weights: The frozen models; by default weights/embedded in the data folder that the checkpoint lies in.

    Raises:
        DataError: If the checkpoint or one of the frozen models is missing or damaged.
        ConfigError: If the checkpoint is of something else.
    """

    def __init__(self, folder: Path | str, *, weights: Path | str | None = None, device: Device = "auto") -> None:
        self.folder = Path(folder)
        self.card = read_card(self.folder)
        self.role = next(role for role in ROLES if role in self.card)
        self.weights = Path(weights) if weights is not None else default_weights(self.folder)
        self.device = pick_device(device)
        kind = resolve(ROLES, self.role, role="role")
        self._answers: Answers = kind(self.folder, self.weights, self.device)
        self._told_cut = self._told_foreign = False
        self._domain: KnownDomain | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files that decide the answers: checkpoint, frozen models, and what labelling taught."""
        frozen = sorted(self.weights.glob("*/config.json"))  # each holds the checksum of its weights
        return (self.folder / "config.json", *frozen, *self._answers.inputs)

    @property
    def module(self) -> str:
        """Module of its method: code that decides the answers beside what this one imports."""
        return METHODS[self.role][self.card[self.role]].split(":")[0]

    @property
    def is_teacher(self) -> bool:
        """Whether its answers are labels to learn from."""
        return self._answers.is_teacher

    def predict(self, image: ImageLike, phrases: Sequence[str], *, with_masks: bool = True) -> list[Answer]:
        """Answer every phrase; the image is encoded once for all of them.

        Args:
            image: A file, a PIL image, or uint8 [height, width, 3] in RGB.

        Raises:
            DataError: If the image cannot be read, or a phrase has no word.
        """
        texts = read_phrases(phrases)
        with tempfile.TemporaryDirectory() as scratch, quietly():
            path = stored_image(image, Path(scratch))
            with Image.open(path) as opened:
                width, height = opened.size
            images = pd.DataFrame([(0, path.name, width, height)], columns=["image_id", "path", "width", "height"])
            pairs = pd.DataFrame(
                {
                    "sample_id": [str(number) for number in range(len(texts))],
                    "image_id": 0,
                    "expression": list(phrases),
                    "text": texts,
                    "split": "new",
                }
            )
            rows = self.answer_pairs(pairs, images, path.parent, with_masks=with_masks)
        return [_answer(row) for row in rows.to_dict("records")]

    def answer_pairs(
        self,
        pairs: pd.DataFrame,
        images: pd.DataFrame,
        root: Path,
        *,
        with_masks: bool = True,
        any_domain: bool = False,
    ) -> pd.DataFrame:
        """Answer pairs about some images: rows as the stages write them (`answering.Answers`).

        No answer about an image that the model does not know is accepted as a label, unless `any_domain`.
        """
        self._tell_cut(pairs["text"].tolist())
        rows = self._answers.rows(pairs, images, root, with_masks=with_masks)
        foreign = self._foreign(images, root)
        if "accept" in rows and foreign and not any_domain:
            rows.loc[rows["image_id"].isin(list(foreign)) & rows["accept"], "reason"] = "domain"
            rows["accept"] = rows["reason"] == ""
        return rows

    def _foreign(self, images: pd.DataFrame, root: Path) -> set[Any]:
        """Images that are not of the kind that the frozen detector was trained on; says so once."""
        self._domain = self._domain or KnownDomain(self.weights, self.device)
        foreign = self._domain.foreign(images, root)
        if foreign and not self._told_foreign:
            self._told_foreign = True
            name = images.loc[images["image_id"].isin(list(foreign)), "path"].iloc[0]
            say(
                f"{self.folder}: knows {self._domain.name}, and {name} is none: its answer is a guess. For "
                f"photographs, see: deixis weights where {PHOTOGRAPHS}"
            )
        return foreign

    def _tell_cut(self, texts: Sequence[str]) -> None:
        """Say once that a phrase is not read to its end."""
        if self._told_cut or not (cut := self._answers.cut(texts)):
            return
        self._told_cut = True
        say(
            f"{self.folder}: phrases as long as {shorten(cut[0], 120)!r} are not read to their end, nor are others "
            "that are too long for it. Name the thing first, or make them shorter"
        )


def read_phrases(phrases: Sequence[str]) -> list[str]:
    """Phrases as models read them.

    Raises:
        DataError: If there are none, or one has no word.
    """
    if isinstance(phrases, str):
        raise ConfigError(f'phrases is the text "{phrases}". Allowed: a list of texts, such as ["{phrases}"].')
    texts = [normalise(phrase) for phrase in phrases]
    if not texts or not all(texts):
        problem = "no phrase" if not texts else f'a phrase without a word: "{phrases[texts.index("")]}"'
        raise DataError(f'{problem}. Allowed: one or more, such as "the red ball on the left". Name what to look for.')
    return texts


def default_weights(folder: Path) -> Path:
    """Frozen models in the checkpoint's own folder, as released ones have; else those of its data folder.

    Its card says which; the embedded ones where it does not.

    A checkpoint of ours lies in <data>/<kind>/<dataset>/<name>.
    """
    if (folder / "weights").is_dir():
        return folder / "weights"
    parents = folder.resolve().parents
    stated = read_json(folder / "config.json", made_by="train_teacher").get("weights", EMBEDDED)
    return parents[min(2, len(parents) - 1)] / "weights" / (stated if isinstance(stated, str) else EMBEDDED)


def _answer(row: dict[str, Any]) -> Answer:
    mask = row.get("mask")
    quality = row.get("mask_quality") if mask is not None else None
    return Answer(
        phrase=row["expression"],
        box=_corners(row["box"]),
        score=float(row["score"]),
        margin=float(row["margin"]) if "margin" in row else None,
        rle=mask,
        mask_quality=None if quality is None else float(quality),
        confidence=float(row["confidence"]) if "confidence" in row else None,
        reason=row.get("reason", ""),
        runner_up=_corners(row.get("runner_up")),
    )


def _corners(box: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    return None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
