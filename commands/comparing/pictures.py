"""Images of phrases that flipped, with both boxes and truth."""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from commands.comparing.results import Flip
from commands.comparing.revisions import Revision
from deixis.core.errors import DataError
from deixis.core.records import file_sha256
from deixis.imaging.decoding import open_image
from deixis.imaging.draw import STUDENT, TEACHER, TRUTH, data_uri, overlay

MOST = 48  # on the page: a few megabytes
SIDE = 400  # pixels, at most
SMALL = 256  # pixels; smaller images are enlarged


def choose(flips: Sequence[Flip]) -> list[Flip]:
    """The first of each predictor's won and lost phrases in turn."""
    kinds: dict[tuple[str, str, bool], list[Flip]] = {}
    for flip in flips:
        kinds.setdefault((flip.dataset, flip.predictor, flip.won), []).append(flip)
    turns = [flip for turn in zip_longest(*kinds.values()) for flip in turn if flip is not None][:MOST]
    return sorted(turns, key=lambda flip: (flip.dataset, flip.predictor, flip.won))


def draw(flips: Sequence[Flip], head: Revision) -> Iterator[dict[str, Any]]:
    """Cards of the gallery; `image` is nothing where it is neither in the head nor on the disk."""
    files = {dataset: _files(dataset, head) for dataset in {flip.dataset for flip in flips}}
    with tempfile.TemporaryDirectory() as folder:
        for flip in flips:
            pixels = _pixels(flip.dataset, files[flip.dataset].get(flip.image_id), head, Path(folder) / "image")
            yield {"flip": flip, "image": None if pixels is None else data_uri(_drawn(pixels, flip))}


def _files(dataset: str, head: Revision) -> dict[Any, tuple[str, str]]:
    """Path and checksum of every image, by its id; nothing where the head has no such table at hand."""
    try:
        table = head.table(f"data/prepared/{dataset}/images.parquet", ("image_id", "path", "sha256"))
    except DataError:
        return {}
    return {image_id: (path, checksum) for image_id, path, checksum in table.itertuples(index=False)}


def _pixels(dataset: str, file: tuple[str, str] | None, head: Revision, scratch: Path) -> np.ndarray | None:
    if file is None:
        return None
    path, checksum = file
    try:
        scratch.write_bytes(_bytes(f"data/raw/{dataset}/images/{path}", head))
        return np.asarray(open_image(scratch)) if file_sha256(scratch) == checksum else None
    except (OSError, DataError):
        return None


def _bytes(name: str, head: Revision) -> bytes:
    try:
        return head.read(name)
    except FileNotFoundError:  # sets that are put there by hand are no output of a stage, and in no commit
        return Path(name).read_bytes()


def _drawn(pixels: np.ndarray, flip: Flip) -> Image.Image:
    scale = 2 if max(pixels.shape[:2]) < SMALL else 1
    boxes = [(flip.true_box, TRUTH), (flip.base_box, TEACHER), (flip.head_box, STUDENT)]
    image = overlay(pixels, boxes=boxes, scale=scale)
    image.thumbnail((SIDE, SIDE))
    return image
