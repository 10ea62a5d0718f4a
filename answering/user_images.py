"""Images as people hand them over, as files that every reader of ours opens."""

from pathlib import Path

import numpy as np
from PIL import Image

from deixis.core.errors import DataError
from deixis.core.progress import say
from deixis.imaging.decoding import DecodedImage, ImageError, decode_upright, open_upright

ImageLike = Path | str | Image.Image | np.ndarray


def upright(image: ImageLike) -> Image.Image:
    """The image in RGB, turned as its EXIF orientation says.

    Raises:
        DataError: If it cannot be read, or an array is of another type or shape than uint8 [height, width, 3].
    """
    return _decoded(image).pixels


def stored_image(image: ImageLike, scratch: Path) -> Path:
    """A file that holds the image upright: its own where it does, else a copy without loss in `scratch`.

    Raises:
        DataError: As `upright`.
    """
    decoded = _decoded(image)
    if decoded.is_dark:
        say(f"{image if isinstance(image, str | Path) else 'the image'}: {decoded.change}. Scale its levels first")
    if isinstance(image, str | Path) and decoded.orientation == 1:
        return Path(image)
    path = scratch / "image.bmp"  # nothing to compress or to lose
    decoded.pixels.save(path)
    return path


def _decoded(image: ImageLike) -> DecodedImage:
    """An image that no stage ever listed: there is nothing to run again, but there are other images."""
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    try:
        return decode_upright(image) if isinstance(image, Image.Image) else open_upright(Path(image))
    except ImageError as error:
        raise ImageError(error.code, error.path, error.problem, error.remedy, "or name another image") from None


def _from_array(image: np.ndarray) -> Image.Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise DataError(
            f"the image is an array of {image.dtype} {list(image.shape)}. Allowed: uint8 [height, width, 3], "
            "RGB. Convert it, as with (255 * image).astype('uint8') where its levels are from 0 to 1"
        )
    return Image.fromarray(image)
