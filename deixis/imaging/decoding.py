"""Stored images, decoded strictly, and brought to 8-bit RGB in one way for every reader."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from deixis.core.errors import DataError

MAX_PIXELS = 64_000_000  # larger images are refused from their header, before any decoding
# Pillow knows more; some of those start other programs (EPS) or have a history of unsafe parsers. JPEG includes MPO.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
DARK = 8192  # of 65535: what 12 bits reach in the place of 16, and one bit more
ORIENTATION = 0x0112  # EXIF tag: how the camera was held, 1 (upright) to 8
UPRIGHT = {  # source: EXIF 2.3, section 4.6.4
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What else helps beside fixing an image that the graph reads
OR_WITHOUT = "or leave it out, then run: dvc repro -f prepare"

ImageCode = Literal["E_IMG_MISSING", "E_IMG_EMPTY", "E_IMG_KIND", "E_IMG_HUGE", "E_IMG_TRUNC"]


class ImageError(DataError):
    """An image that cannot be used: what was found, how to fix it, and the code under which a quarantine lists it."""

    def __init__(self, code: ImageCode, path: Path, problem: str, remedy: str, otherwise: str = OR_WITHOUT) -> None:
        super().__init__(f"{path}: {problem}. {remedy} {otherwise}")
        self.code: ImageCode = code
        self.path = path
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image and what was done to get there.

    Attributes:
        pixels: RGB, upright.
        mode: Pillow's name of the stored pixels' kind, as "L" or "CMYK".
        format: Pillow's name of the file's format.
        orientation: EXIF orientation that was applied; 1 when there was nothing to turn.
        animated: Whether the file holds further frames; the first one counts.
        change: How levels were changed, in words: an alpha channel laid over white, 16 bits made 8, CMYK made RGB;
            empty where they were not.
        is_dark: Whether it has 16 bits and uses next to nothing of their range, so that it is almost black.
    """

    pixels: Image.Image
    mode: str
    format: str
    orientation: int
    animated: bool
    change: str
    is_dark: bool


def open_image(path: Path) -> Image.Image:
    """Decode a whole image as RGB, in stored pixels: EXIF orientation is not applied.

    Raises:
        ImageError: If the file is missing, not an image, cut short, or larger than MAX_PIXELS.
    """
    with _opened(path) as image:
        return _to_rgb(image, path)


def open_upright(path: Path) -> DecodedImage:
    """Decode a whole image as RGB and turn it as its EXIF orientation says.

    Raises:
        ImageError: As `open_image`.
    """
    with _opened(path) as image:
        return _decode(image, path)


def read_upright(data: bytes, name: str) -> DecodedImage:
    """The same of the bytes of a file, called `name` where something is wrong with them.

    Raises:
        ImageError: As `open_image`.
    """
    path = Path(name)
    with _explained(path), _within_limits(BytesIO(data), path) as image:
        return _decode(image, path)


def decode_upright(image: Image.Image) -> DecodedImage:
    """The same of an image that somebody else has opened, with its pixels read or not.

    Raises:
        ImageError: If it is of a kind that says nothing about black and white, or its file is cut short.
    """
    name = Path(getattr(image, "filename", "") or "the image")
    with _explained(name):
        return _decode(image, name)


def _decode(image: Image.Image, path: Path) -> DecodedImage:
    mode, kind, is_cut = image.mode, image.format or "", _is_cut_to_bytes(image)
    animated = bool(getattr(image, "is_animated", False))
    image.load()
    orientation = _orientation(image)
    turned = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    change, is_dark = "", False
    if image.has_transparency_data or mode == "CMYK" or mode.startswith("I"):
        change = f"{mode} made 8-bit RGB"
    if mode.startswith("I") and (highest := int(np.asarray(image).max())) < DARK:
        change, is_dark = f"{change}; its levels end at {highest} of 65535, so it is almost black", True
    elif is_cut:
        change, highest = f"{mode} of 16 bits made 8-bit RGB", 256 * int(np.asarray(image).max()) + 255
        if highest < DARK:
            change, is_dark = f"{change}; its levels end below {highest + 1} of 65536, so it is almost black", True
    return DecodedImage(_to_rgb(turned, path), mode, kind, orientation, animated, change, is_dark)


def as_reached(path: Path) -> Path:
    """The path under which a file can be opened.

    Copies lie beside the tables, reached from the image folder by "..", which the folder's absence or its being a link
    would break; as text the path is still right.
    """
    return path if os.path.exists(path) else Path(os.path.normpath(path))  # Path.exists raises at names too long


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An opened image of an allowed format and size."""
    path = as_reached(path)
    with _explained(path):
        if path.is_dir():
            raise ImageError("E_IMG_KIND", path, "a folder and not an image", "Put an image there")
        if not path.stat().st_size:
            raise ImageError("E_IMG_EMPTY", path, "an empty file", "Restore it")
        # From a stream: what Pillow maps into memory by name, it maps with sides that a TIFF's orientation has swapped.
        with path.open("rb") as stream, _within_limits(stream, path) as image:
            yield image


@contextmanager
def _within_limits(stream: BufferedReader | BytesIO, path: Path) -> Iterator[Image.Image]:
    with Image.open(stream, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(path, f"{image.width} x {image.height} pixels")
        yield image


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Let whatever goes wrong with an image become an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError("E_IMG_MISSING", path, "no such image", "Restore it") from None
    except UnidentifiedImageError:
        problem = f"not an image of an allowed format ({', '.join(FORMATS)})"
        raise ImageError("E_IMG_KIND", path, problem, "Convert it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, str(error)) from None
    except Exception as error:  # Pillow's readers pass on whatever a damaged file makes of their arithmetic
        problem = f"the image is cut short or damaged ({error})"
        raise ImageError("E_IMG_TRUNC", path, problem, "Restore it") from None


def _too_large(path: Path, problem: str) -> ImageError:
    return ImageError("E_IMG_HUGE", path, f"{problem}; allowed: {MAX_PIXELS} pixels", "Resize it")


def _is_cut_to_bytes(image: Image.Image) -> bool:
    """Whether Pillow reads colours of 16 bits by their upper byte, unsaid. To be asked before pixels are read."""
    tiles = getattr(image, "tile", None) or []
    rawmodes = [tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in tiles]
    return not image.mode.startswith("I") and any(
        isinstance(rawmode, str) and rawmode.partition(";")[2].startswith("16") for rawmode in rawmodes
    )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 where there is none or none that means anything."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata takes no sound image with it
        return 1
    return value if value in UPRIGHT else 1


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """8-bit RGB. Transparent parts show white, as on a page; 16-bit levels are scaled; Pillow cuts them at 255."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() >= 0 and levels.max() <= 65535:
            scaled = np.where(levels == image.info.get("transparency"), 255, levels // 257)
            return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        problem = f"levels of mode {image.mode}, which say nothing about black and white"
        raise ImageError("E_IMG_KIND", path, problem, "Save it with 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
