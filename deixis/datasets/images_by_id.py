"""The images that phrases are about: found by name or by id, inside their root, decoded whole."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from deixis.core.errors import DataError
from deixis.core.progress import track
from deixis.core.records import file_sha256
from deixis.datasets.quarantine import Quarantine
from deixis.datasets.tables import id_key, is_storable, natural, whole
from deixis.datasets.targets import Refusal
from deixis.imaging.decoding import MAX_PIXELS, ImageError, open_image

COCO_NAMES = ("COCO_train2014_{:012d}.jpg", "{:012d}.jpg")  # of the same image in the releases of 2014 and 2017
IAPR_NAMES = ("{:d}.jpg", "{folder:02d}/images/{:d}.jpg")  # in one folder, and as the collection itself is laid out
MAX_DIGITS = 20  # of a number in a name; Python reads no text of thousands


@dataclass(frozen=True)
class SoundImage:
    """An image that decodes; `image_id` is as the source has it."""

    image_id: int | str
    path: str
    sha256: str
    width: int
    height: int
    licence: str


ImageRows = dict[str, tuple[int, list[dict[str, Any]]]]  # line of the first row of an id, and all its rows


def index_images(rows: list[Any], *, file: Path, quarantine: Quarantine) -> ImageRows:
    """Rows of each image by the key of its id; every one but the first is listed."""
    images: ImageRows = {}
    for line, row in enumerate(rows):
        key = id_key(row.get("id")) if isinstance(row, dict) else None
        if key is None:
            quarantine.add(file, line, "E_ROW_BROKEN", "an image without an id")
        elif key in images:
            quarantine.add(file, line, "E_ID_DUP", f"image {key}")
            images[key][1].append(row)
        else:
            images[key] = (line, [row])
    return images


def check_images(
    images: ImageRows,
    needed: set[str],
    *,
    root: Path,
    file: Path,
    licences: Mapping[str, str],
    quarantine: Quarantine,
) -> dict[str, SoundImage]:
    """Decode every wanted image, in the order of ids.

    An id that leads to two files is left out: which of them a phrase is about cannot be told.

    Raises:
        DataError: If the root is not there at all.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder. Put the images there, link it, or name theirs in the dataset's image_root; "
            "then run: dvc repro prepare"
        )
    sound = {}
    order = sorted((key for key in needed if key in images), key=lambda key: natural(images[key][1][0]["id"]))
    for key in track(order, "checking images", total=len(order)):
        line, rows = images[key]
        if len(rows) > 1 and _lead_to_two(rows, root):
            continue  # listed as E_ID_DUP
        try:
            sound[key] = _check_image(rows[0], root=root, licences=licences)
        except Refusal as refusal:
            quarantine.add(file, line, refusal.code, refusal.value)
    return sound


def names_of(row: Mapping[str, Any]) -> Iterator[str]:
    """Names under which an image may lie, likeliest first: the stated one, then those that its id implies."""
    if isinstance(row.get("file_name"), str) and row["file_name"]:
        yield row["file_name"]
    key = id_key(row["id"])
    if key is not None and key.isdecimal() and key.isascii() and len(key) < MAX_DIGITS:
        for name in COCO_NAMES + IAPR_NAMES:
            yield name.format(int(key), folder=int(key) // 1000)


def _check_image(row: Mapping[str, Any], *, root: Path, licences: Mapping[str, str]) -> SoundImage:
    name, path = _locate(row, root)
    if _pixels_in_header(path) > MAX_PIXELS:
        raise Refusal("E_IMG_HUGE", f"{name}: more than {MAX_PIXELS} pixels")
    try:
        size = open_image(path).size
    except ImageError as error:
        raise Refusal(error.code, f"{name}: {error.problem}") from None
    stated = row.get("width"), row.get("height")
    if stated not in ((None, None), size):
        raise Refusal("E_IMG_SIZE", f"{name}: {size} for {stated}")
    known = licences.get(id_key(whole(row.get("license"))) or "", "unknown")
    return SoundImage(row["id"], name, file_sha256(path), *size, known)


def _locate(row: Mapping[str, Any], root: Path) -> tuple[str, Path]:
    """The first name under which a file lies; every one of them must stay inside the root, links followed."""
    inside = root.resolve()
    for name in names_of(row):
        try:
            path = (root / name).resolve()
            if not is_storable(name) or not path.is_relative_to(inside):
                raise Refusal("E_IMG_PATH", repr(name))
            if path.is_file():
                return name, path
        except (OSError, ValueError, RuntimeError):  # too long, a zero byte, a ring of links
            raise Refusal("E_IMG_PATH", repr(name)) from None
    raise Refusal("E_IMG_MISSING", ", ".join(names_of(row)))


def _lead_to_two(rows: list[dict[str, Any]], root: Path) -> bool:
    paths = set()
    for row in rows:
        with suppress(Refusal):
            paths.add(_locate(row, root)[1])
    return len(paths) > 1


def _pixels_in_header(path: Path) -> int:
    """Width times height before anything is decoded; 0 where there is no header, which decoding will tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                return image.width * image.height
        except Image.DecompressionBombError:
            return MAX_PIXELS + 1
        except (OSError, SyntaxError, ValueError):
            return 0
