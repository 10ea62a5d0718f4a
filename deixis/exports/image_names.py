"""Names of images in exports: below one folder, wherever preparing left the images."""

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deixis.core.errors import DataError
from deixis.imaging.places import IMAGES, allowed_folders, find_root, is_allowed

LONGEST = 255  # bytes of a file's name, on every usual file system


@dataclass(frozen=True)
class ImageNames:
    """What images are called.

    Attributes:
        top: The folder that names start from; None where that is whichever folder the user keeps.
        start: The folder that paths start from, where names start further up; else None, and paths are names.
    """

    top: Path | None
    start: str | None = None

    def __call__(self, path: str) -> str:
        """The name of the image of a path, with forward slashes."""
        if self.start is None or self.top is None:
            return _plain(path)
        return Path(_place(self.start, path)).relative_to(self.top).as_posix()


def name_images(paths: Iterable[str], *, images: Path, root: Path | None) -> ImageNames:
    """How images are named, all below one folder.

    Most images lie in the folder of images, and their paths are their names. Copies of turned images and images out of
    Parquet lie beside the tables, others beside the folder, those of a set with `image_root` anywhere. Where there are
    such, names start further up, from the folder that holds them all.

    Args:
        paths: Of images.parquet; gone through several times.
        images: That table.
        root: The folder that paths start from, where the user has named it.

    Raises:
        DataError: If that folder is needed and not found, or a path leads to where preparing puts no images.
    """
    for path in paths:
        if not _is_name(path):
            raise DataError(
                f"{images}: {path[:80]!r} is no path of an image; allowed: parts of up to {LONGEST} bytes, without "
                "zero bytes. Run: dvc repro -f prepare"
            )
    leaving = next((path for path in paths if _leaves(_plain(path))), None)
    if leaving is None:
        return ImageNames(top=root)
    if root is None and not all(posixpath.isabs(_plain(path)) for path in paths):
        root = find_root(images, [_plain(path) for path in paths])
        if root is None:
            raise DataError(
                f"{images}: {_plain(leaving)!r} leaves the image root, which was not found. Name the folder that the "
                "paths start from: --image-root FOLDER"
            )
    start = "" if root is None else os.path.abspath(root)
    allowed = None if root is None else allowed_folders(images, root)
    folders, below_start = set(), False
    for place in (_place(start, path) for path in paths):
        if root is not None and Path(place).is_relative_to(start):
            below_start = True
            continue
        if allowed is not None and not is_allowed(Path(place), allowed):
            raise DataError(
                f"{images}: {place!r} leaves the image root {root}. Allowed: images below it, beside a folder called "
                f"images, or in {images.parent}/images. Name the folder that paths start from: --image-root FOLDER"
            )
        folders.add(_folder_of(place, images, start))
    return ImageNames(top=Path(os.path.commonpath([*folders, *((start,) if below_start else ())])), start=start)


def _plain(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/"))


def _place(start: str, path: str) -> str:
    return os.path.normpath(os.path.join(start, _plain(path)))


def _folder_of(place: str, images: Path, start: str) -> str:
    """The folder that preparing put an image into, else the one that it lies in."""
    usual = (os.path.abspath(images.parent / IMAGES), os.path.dirname(start)) if start else ()
    return next((folder for folder in usual if Path(place).is_relative_to(folder)), os.path.dirname(place))


def _is_name(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return bool(parts[-1]) and "\0" not in path and all(len(part.encode()) <= LONGEST for part in parts)


def _leaves(path: str) -> bool:
    return posixpath.isabs(path) or path == ".." or path.startswith("../")
