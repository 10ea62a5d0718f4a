"""The labels that a file is about, as they went out."""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from deixis.core.errors import DataError
from deixis.core.records import read_table
from deixis.exports.cvat import NOT_IN_XML
from deixis.exports.image_names import name_images
from deixis.exports.reading import part_inside, read_images
from deixis.labelling.label_table import SCHEMA_VERSION
from reviewing.decisions import Box, sound_box

COLUMNS = (
    "sample_id", "image_id", "expression", "split", "box", "score", "accept", "teacher", "checkpoint_sha256",
    "schema_version",
)  # fmt: skip
NEVER_NULL = ("expression", "score", "teacher", "checkpoint_sha256")
LONGEST = 4096  # characters of a name that count, from its end: paths are no longer
FOLDERS = ("images", "labels")  # which YOLO's tools exchange or drop


@dataclass(frozen=True)
class SentLabel:
    """One label.

    Attributes:
        box, runner_up: As they went out, cut at the image's border; None where nothing of one lies inside.
        whole_box, whole_runner_up: As the teacher gave them.
        accepted: By the teacher's rules.
        went_out: By the rules that `deixis export` was given.
    """

    sample_id: str
    image_id: int
    expression: str
    box: Box | None
    runner_up: Box | None
    whole_box: Box | None
    whole_runner_up: Box | None
    accepted: bool
    went_out: bool
    teacher: str
    checkpoint_sha256: str


@dataclass(frozen=True)
class SentImage:
    """One image, its size in pixels, and its labels in the order of the table."""

    image_id: int
    name: str
    size_wh: tuple[int, int]
    labels: tuple[SentLabel, ...]


class SentImages:
    """All images that have labels, to be found by their names.

    Args:
        others: Names of images of the same table that have none.
    """

    def __init__(self, images: Sequence[SentImage], others: Iterable[str] = ()) -> None:
        self.by_id = {image.image_id: image for image in images}
        self.models = {f"{label.teacher}-{label.checkpoint_sha256[:8]}" for image in images for label in image.labels}
        self.sample_ids = {label.sample_id: image for image in images for label in image.labels}
        self._by_ending = {kept: _by_ending(images, has_ending=kept) for kept in (True, False)}
        self._bare = {kept: {_parts(name, has_ending=kept) for name in others} for kept in (True, False)}
        for kept, bare in self._bare.items():
            bare.difference_update(_parts(image.name, has_ending=kept) for image in images)

    def is_bare(self, name: str, *, has_ending: bool = True) -> bool:
        """Whether this is the whole name of an image without labels, which `named` would look for among the others."""
        return any(_parts(one, has_ending=has_ending) in self._bare[has_ending] for one in (name, unquote(name)))

    def named(self, name: str, *, has_ending: bool = True) -> SentImage | None:
        """The image of that name, or the only one whose path ends as the name does; as it is, or quoted for the web."""
        found = self._ending(name, has_ending=has_ending)
        return found or self._ending(unquote(name), has_ending=has_ending)

    def _ending(self, name: str, *, has_ending: bool) -> SentImage | None:
        parts = _parts(name, has_ending=has_ending)
        found = self._by_ending[has_ending]
        for start in range(len(parts)):
            if images := found.get(parts[start:]):
                return images[0] if len(images) == 1 else self._exact(images, name)
        return None

    def _exact(self, images: list[SentImage], name: str) -> SentImage | None:
        return next((image for image in images if image.name == name), None)


def read_sent(
    labels: Path, images: Path, *, image_root: Path | None, everything: bool, min_score: float | None
) -> SentImages:
    """Read labels.parquet and images.parquet.

    Args:
        everything, min_score: As `deixis export` was given them.

    Raises:
        DataError: If they are no such tables, of another schema, or do not fit.
    """
    remedy = "Name the labels.parquet that was exported: --labels"
    table = read_table(labels, columns=COLUMNS, optional=("runner_up",), made_by="segment_boxes")
    if strange := sorted(set(table["schema_version"]) - {SCHEMA_VERSION}):
        raise DataError(f"{labels}: labels of schema {strange[0]}; this version knows {SCHEMA_VERSION}. {remedy}")
    for name in NEVER_NULL:
        if (gaps := table[name].isna()).any():
            raise DataError(f"{labels}: row {int(gaps.argmax())} has no {name}. {remedy}")
    if table["image_id"].dtype.kind not in "iu":
        raise DataError(f"{labels}: image ids are {table['image_id'].dtype}; allowed: whole numbers. {remedy}")
    if (twice := table["sample_id"].duplicated()).any():
        raise DataError(f"{labels}: {table['sample_id'][twice].iloc[0]} is there twice. {remedy}")
    listed = read_images(images)
    names = map(name_images(listed["path"], images=images, root=image_root), listed["path"])
    sizes = zip(listed["width"].astype(int), listed["height"].astype(int), strict=True)
    about = {key: (name, size) for key, name, size in zip(listed["image_id"], names, sizes, strict=True)}
    rows = defaultdict(list)
    for row in table.to_dict("records"):
        rows[row["image_id"]].append(row)
    if unknown := sorted(rows.keys() - about.keys()):
        raise DataError(f"{labels}: image {unknown[0]} is not in {images}. Name the table of its images: --images")
    sent = [
        SentImage(int(key), *about[key], tuple(_label(row, about[key][1], everything, min_score) for row in of_image))
        for key, of_image in rows.items()
    ]
    return SentImages(sent, others=[name for key, (name, _) in about.items() if key not in rows])


def plain_phrase(text: str) -> str:
    """A phrase as it survives any of the formats: XML takes no control characters, and tools trim."""
    return " ".join(NOT_IN_XML.sub(" ", text).split())


def _label(row: dict[str, Any], size: tuple[int, int], everything: bool, min_score: float | None) -> SentLabel:
    box, runner_up = sound_box(row["box"]), sound_box(row.get("runner_up"))
    inside = [part_inside(one, width=size[0], height=size[1]) for one in (box, runner_up)]
    accepted = bool(row["accept"])
    return SentLabel(
        sample_id=str(row["sample_id"]),
        image_id=int(row["image_id"]),
        expression=row["expression"],
        box=inside[0],
        runner_up=inside[1],
        whole_box=box,
        whole_runner_up=runner_up,
        accepted=accepted,
        went_out=(accepted or everything)
        and inside[0] is not None
        and (min_score is None or row["score"] >= min_score),
        teacher=row["teacher"],
        checkpoint_sha256=row["checkpoint_sha256"],
    )


def _by_ending(images: Sequence[SentImage], *, has_ending: bool) -> dict[tuple[str, ...], list[SentImage]]:
    found: dict[tuple[str, ...], list[SentImage]] = defaultdict(list)
    for image in images:
        parts = _parts(image.name, has_ending=has_ending)
        for start in range(len(parts)):
            found[parts[start:]].append(image)
    return found


def _parts(name: str, *, has_ending: bool) -> tuple[str, ...]:
    path = PurePosixPath(posixpath.normpath(unicodedata.normalize("NFC", name.replace("\\", "/"))[-LONGEST:]))
    return path.parts if has_ending else tuple(part for part in path.with_suffix("").parts if part not in FOLDERS)
