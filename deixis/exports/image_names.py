"""Names of images in exports: below one folder, wherever preparing left the images."""

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from deixis.core.errors import DataError
from deixis.imaging.places import IMAGES, allowed_folders, find_root, is_allowed

LONGEST = 255  # bytes of a file's name, on every usual file system


def name_images(paths: Sequence[str], *, images: Path, root: Path | None) -> tuple[list[str], Path | None]:
    """Each image's name below one folder, with forward slashes; and that folder, None where any will do.

    Most images lie in the folder of images, and their paths are their names. Copies of turned images and images out of
    Parquet lie beside the tables, others beside the folder, those of a set with `image_root` anywhere. Where there are
    such, names start further up, from the folder that holds them all.

    Args:
        paths: Of images.parquet.
        images: That table.
        root: The folder that paths start from, where the user has named it.

    Raises:
        DataError: If that folder is needed and not found, or a path leads to where preparing puts no images.
    """
    plain = [posixpath.normpath(path.replace("\\", "/")) for path in paths]
    if unusable := [path for path in paths if not _is_name(path)]:
        raise DataError(
            f"{images}: {unusable[0][:80]!r} is no path of an image; allowed: parts of up to {LONGEST} bytes, without "
            "zero bytes. Run: dvc repro -f prepare"
        )
    leaving = [path for path in plain if _leaves(path)]
    if not leaving:
        return plain, root
    if root is None and not all(map(posixpath.isabs, plain)):
        root = find_root(images, plain)
        if root is None:
            raise DataError(
                f"{images}: {leaving[0]!r} leaves the image root, which was not found. Name the folder that the paths "
                "start from: --image-root FOLDER"
            )
    start = "" if root is None else os.path.abspath(root)
    places = [os.path.normpath(os.path.join(start, path)) for path in plain]
    outside = [place for place in places if root is None or not Path(place).is_relative_to(start)]
    if root is not None:
        _refuse_strangers(outside, images, root)
    whole = len(outside) == len(places)
    folders = {_folder_of(place, images, start) for place in outside}
    top = os.path.commonpath([*folders, *(() if whole else (start,))])
    return [Path(place).relative_to(top).as_posix() for place in places], Path(top)


def _folder_of(place: str, images: Path, start: str) -> str:
    """The folder that preparing put an image into, else the one that it lies in."""
    usual = (os.path.abspath(images.parent / IMAGES), os.path.dirname(start)) if start else ()
    return next((folder for folder in usual if Path(place).is_relative_to(folder)), os.path.dirname(place))


def _is_name(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return bool(parts[-1]) and "\0" not in path and all(len(part.encode()) <= LONGEST for part in parts)


def _leaves(path: str) -> bool:
    return posixpath.isabs(path) or path == ".." or path.startswith("../")


def _refuse_strangers(outside: Sequence[str], images: Path, root: Path) -> None:
    folders = allowed_folders(images, root)
    for place in outside:
        if not is_allowed(Path(place), folders):
            raise DataError(
                f"{images}: {place!r} leaves the image root {root}. Allowed: images below it, beside a folder called "
                f"images, or in {images.parent}/images. Name the folder that paths start from: --image-root FOLDER"
            )
