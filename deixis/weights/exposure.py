"""How much of an evaluation split a frozen model has learned from.

By id where the ids of the images that it saw are known; by name otherwise, from what is known of the sets. What is
not known to be apart is `unknown`, never a pass.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deixis.core.errors import DataError

Level = Literal[
    "none", "unknown", "image_unlabelled", "caption", "box", "mask", "expression_same_image", "expression_same_object"
]
LEVELS: tuple[Level, ...] = (  # from least to most
    "none",
    "unknown",
    "image_unlabelled",
    "caption",
    "box",
    "mask",
    "expression_same_image",
    "expression_same_object",
)
LEVEL_OF_LABELS: dict[str, Level] = {"none": "image_unlabelled", "caption": "caption", "box": "box", "mask": "mask"}

EMBEDDED = "embedded"  # images that we draw ourselves: no published model has seen them
NO_IMAGES = "no_images"  # a model of text alone
# How much of a set of evaluation images lies in a set of training images; what is not listed is unknown.
# train2017 is train2014 and 35,504 images of val2014 (mmdetection: remove_cocotrain2017_from_refcoco.py); 51,208 images
# of Visual Genome are COCO's (polygon-transformer: issue 11); SA-1B and ImageNet took none from COCO.
SHARES: dict[str, dict[str, Literal["all", "some", "none"]]] = {
    "coco_train2014": {
        "coco_train2014": "all",
        "coco_train2017": "all",
        "coco_val2014": "none",
        "coco_val2017": "none",
        "imagenet_1k": "none",
        "sa_1b": "none",
        "visual_genome": "some",
    },
    "coco_train2017": {  # photographs of docs/photographs.md
        "coco_train2014": "some",
        "coco_train2017": "all",
        "coco_val2014": "some",
        "coco_val2017": "none",
        "imagenet_1k": "none",
        "sa_1b": "none",
        "visual_genome": "some",
    },
    "iapr_tc12": {  # ReferItGame's
        "iapr_tc12": "all",
        "coco_train2014": "none",
        "coco_train2017": "none",
        "coco_val2014": "none",
        "coco_val2017": "none",
    },
}


@dataclass(frozen=True)
class ImageSet:
    """A set of images: its name, if it has one, and the ids of its members, if they are known."""

    images: str | None
    ids: frozenset[int] | None = None

    @property
    def id_space(self) -> str | None:
        """COCO's releases number an image alike."""
        return self.images.partition("_")[0] if self.images else None


@dataclass(frozen=True)
class TrainingSet:
    """One training set of a model."""

    image_set: ImageSet
    labels: str  # none, caption, box or mask


def exposure(evaluated: ImageSet, training_sets: Iterable[TrainingSet]) -> dict[str, Any]:
    """What a model with these training sets has learned from the evaluated images: the worst of its sets.

    Returns:
        `images`: their number. `overlap`: how many the model saw, null where that is not known. `level`: one of
        `LEVELS`. `basis`: by id, by name, or unknown.

    Source: the levels and the rules are our own; docs/weights.md.
    """
    return worst([_of_one_set(evaluated, one) for one in training_sets])


def worst(exposures: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The exposure of the highest level; of several, the first with the largest overlap."""
    return max(exposures, key=lambda one: (LEVELS.index(one["level"]), one["overlap"] or 0))


def read_ids(path: Path) -> frozenset[int]:
    """Ids of images from a text file with one id or file name per line: `72` and `COCO_train2014_000000000072.jpg`.

    Raises:
        DataError: If a line has no number.
    """
    ids = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            match = re.search(r"(\d+)(\.\w+)?$", line.strip())
            if not match:
                raise DataError(
                    f"{path}, line {number}: {line[:60]!r} is no id of an image. Expected one id, or the name of one "
                    "image, per line. Fix the line, then run: dvc repro -f check_leakage"
                )
            ids.add(int(match[1]))
    return frozenset(ids)


def _of_one_set(evaluated: ImageSet, training_set: TrainingSet) -> dict[str, Any]:
    assert evaluated.ids is not None
    number, level = len(evaluated.ids), LEVEL_OF_LABELS[training_set.labels]
    if training_set.image_set.ids is not None and training_set.image_set.id_space == evaluated.id_space is not None:
        overlap = len(evaluated.ids & training_set.image_set.ids)
        return {"images": number, "overlap": overlap, "level": level if overlap else "none", "basis": "by id"}
    share = _share(evaluated.images, training_set.image_set.images)
    if share is None:
        return {"images": number, "overlap": None, "level": "unknown", "basis": "unknown"}
    if share == "none":
        return {"images": number, "overlap": 0, "level": "none", "basis": "by name"}
    return {"images": number, "overlap": number if share == "all" else None, "level": level, "basis": "by name"}


def _share(evaluated: str | None, trained_on: str | None) -> Literal["all", "some", "none"] | None:
    if trained_on == NO_IMAGES or (evaluated == EMBEDDED and trained_on != EMBEDDED):
        return "none"
    return SHARES.get(evaluated or "", {}).get(trained_on or "")
