"""Pictures as people hand them over, as files that every reader of ours opens."""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from deixis.core.errors import DataError
from deixis.imaging.pictures import PictureError, open_image

Picture = Path | str | Image.Image | np.ndarray


def upright(picture: Picture) -> Image.Image:
    """The picture in RGB, turned as its EXIF orientation says.

    Raises:
        DataError: If it cannot be read, or an array is of another type or shape than uint8 [height, width, 3].
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    opened = picture if isinstance(picture, Image.Image) else _open(Path(picture))
    return ImageOps.exif_transpose(opened).convert("RGB")


def stored_picture(picture: Picture, scratch: Path) -> Path:
    """A file that holds the picture upright: its own where it does, else a copy without loss in `scratch`.

    Raises:
        DataError: As `upright`.
    """
    if isinstance(picture, str | Path):
        opened = _open(Path(picture))
        if opened.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return Path(picture)
        picture = opened
    path = scratch / "picture.bmp"  # nothing to compress or to lose
    upright(picture).save(path)
    return path


def _open(path: Path) -> Image.Image:
    """A picture that no stage ever listed: there is nothing to run again, but there are other pictures."""
    try:
        return open_image(path)
    except PictureError as error:
        raise PictureError(error.code, error.path, error.found, error.mend, "or name another picture") from None


def _from_array(picture: np.ndarray) -> Image.Image:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise DataError(
            f"the picture is an array of {picture.dtype} {list(picture.shape)}. Allowed: uint8 [height, width, 3], "
            "RGB. Convert it, as with (255 * picture).astype('uint8') where its levels are from 0 to 1"
        )
    return Image.fromarray(picture)
