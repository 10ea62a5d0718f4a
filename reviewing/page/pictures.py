"""Pictures for a browser: named by number, decoded as labelling decodes them, and encoded anew."""

from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from threading import Lock

import pandas as pd
from PIL import Image

from deixis.core.errors import DataError
from deixis.imaging.decoding import ImageError, open_image, open_upright, read_upright
from deixis.imaging.places import allowed_folders, find_root, is_allowed

LONG_SIDE = 2000  # pixels; a larger picture is sent smaller, and its boxes stay in pixels of the stored one
SMALL = 512 * 512  # pixels; up to here without loss
KEPT_BYTES = 64 << 20  # of encoded pictures
KEPT_UPLOADS = 4


class Pictures:
    """The images of a table.

    Args:
        table: As `deixis.exports.reading.read_images` reads it.
        source: Where it was read from.
        root: Folder that its paths start from; None to look for it in the usual places.

    Raises:
        DataError: If that folder is not found.
    """

    def __init__(self, table: pd.DataFrame, source: Path, root: Path | None) -> None:
        self._paths: list[str] = table["path"].tolist()
        self._sizes = list(zip(table["width"].tolist(), table["height"].tolist(), strict=True))
        found = root or find_root(source, self._paths)
        if found is None or not found.is_dir():
            raise DataError(
                f"{source}: the folder that its paths start from was not found{f': {root}' if root else ''}. Name it: "
                "--image-root FOLDER"
            )
        self._root, self._folders = found, allowed_folders(source, found)
        self._encoded: OrderedDict[int, tuple[bytes, str]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._paths)

    def name(self, number: int) -> str:
        """The path of an image as the table has it."""
        return self._paths[number]

    def size(self, number: int) -> tuple[int, int]:
        """Width and height in stored pixels."""
        return self._sizes[number]

    def path(self, number: int) -> Path:
        """Where an image is.

        Raises:
            DataError: If its path leaves the folders that images may be in.
        """
        path = self._root / self._paths[number]
        if not is_allowed(path, self._folders):
            raise DataError(
                f"{self._paths[number]!r} leaves the image root {self._root}. Allowed: images below it. Name the "
                "folder that paths start from: --image-root FOLDER"
            )
        return path

    def encoded(self, number: int) -> tuple[bytes, str]:
        """A picture and its media type.

        Raises:
            DataError: If the image cannot be read, is elsewhere, or has another size than the table says.
        """
        with self._lock:
            if number in self._encoded:
                self._encoded.move_to_end(number)
                return self._encoded[number]
        image = open_image(self.path(number))
        if image.size != self._sizes[number]:
            stated, found = (f"{width} x {height}" for width, height in (self._sizes[number], image.size))
            raise DataError(
                f"{self._paths[number]}: has {found} pixels, and the table of images says {stated}, so that boxes "
                "would be shown in wrong places. Name the right folder: --image-root FOLDER"
            )
        made = encode(image)
        with self._lock:
            self._encoded[number] = made
            while sum(len(data) for data, _ in self._encoded.values()) > KEPT_BYTES and len(self._encoded) > 1:
                self._encoded.popitem(last=False)
        return made


class Uploads:
    """Images that people uploaded: the last few, in memory, and nowhere else."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._last = 0
        self._lock = Lock()

    def add(self, data: bytes) -> tuple[int, Image.Image]:
        """Keep the bytes of an image file; its number, and the image, upright.

        Raises:
            DataError: If they are no image of an allowed format and size.
        """
        image = _upright(data)
        with self._lock:
            self._last += 1
            self._kept[self._last] = data
            while len(self._kept) > KEPT_UPLOADS:
                self._kept.popitem(last=False)
            return self._last, image

    def image(self, number: int) -> Image.Image:
        """The image, upright.

        Raises:
            KeyError: If it is not kept any more.
        """
        with self._lock:
            data = self._kept[number]
        return _upright(data)


def listed_upright(path: Path) -> Image.Image:
    """An image of a list as a model is shown it."""
    return open_upright(path).pixels


def encode(image: Image.Image) -> tuple[bytes, str]:
    """RGB as a PNG or JPEG of at most LONG_SIDE pixels a side, and its media type."""
    if max(image.size) > LONG_SIDE:
        image = image.copy()
        image.thumbnail((LONG_SIDE, LONG_SIDE))
    stream = BytesIO()
    if image.width * image.height <= SMALL:
        image.save(stream, "PNG", compress_level=1)
        return stream.getvalue(), "image/png"
    image.save(stream, "JPEG", quality=92, subsampling=0)
    return stream.getvalue(), "image/jpeg"


def _upright(data: bytes) -> Image.Image:
    try:
        return read_upright(data, "the image").pixels
    except ImageError as error:
        raise DataError(f"the image: {error.problem}. {error.remedy}, or choose another one") from None
