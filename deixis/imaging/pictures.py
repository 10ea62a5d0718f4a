"""Stored pictures, decoded strictly."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from deixis.core.errors import DataError

MAX_PIXELS = 64_000_000  # larger pictures are refused from their header, before any decoding


def open_image(path: Path) -> Image.Image:
    """Decode a whole image as RGB, in stored pixels.

    Raises:
        DataError: If the file is missing, not an image, cut short, or larger than MAX_PIXELS.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {image.width} x {image.height} pixels; allowed: {MAX_PIXELS}. "
                    "Resize it or leave it out, then run: dvc repro"
                )
            return image.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: no such image. Restore it or leave it out, then run: dvc repro") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image. Replace it or leave it out, then run: dvc repro") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: the image is cut short or damaged ({error}). Restore it, then run: dvc repro"
        ) from None
