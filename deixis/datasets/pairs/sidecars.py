"""Rows of a folder of images with a .txt of the same name beside each, one phrase per line."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from deixis.datasets.companions import is_companion
from deixis.datasets.pairs.rows import Remark, Row, RowOrRemark
from deixis.datasets.pairs.settings import PairsConfig
from deixis.datasets.pairs.text_lines import decode, read_lines

BETWEEN = re.compile(r"[\s,;]+")  # numbers of a label
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")


def read_sidecars(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """Rows folder by folder, in the order of names; links to folders are not followed.

    Args:
        path: The folder that holds `images`.
        file: Its path below the raw folder, put before every name.
        config: Without use here: sidecars have no columns.
    """
    root = path / "images"
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        stems: dict[str, list[str]] = defaultdict(list)
        for name in sorted(name for name in names if not is_companion(name)):
            stems[Path(name).stem].append(name)
        for stem in sorted(stems):
            below = Path(folder).relative_to(root)
            prefix = "" if file == "." else f"{file}/"
            yield from _read_stem(Path(folder), below, stems[stem], prefix)


def _read_stem(folder: Path, below: Path, names: list[str], prefix: str) -> Iterator[RowOrRemark]:
    """Rows of the files that share a stem in one folder."""
    images = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    texts = [name for name in names if Path(name).suffix.lower() == ".txt"]
    if not texts:
        for name in images:
            yield Remark(f"{prefix}images/{(below / name).as_posix()}", 0, "W_IMG_NO_TEXT", "no .txt beside it")
    for name in texts:
        place = f"{prefix}images/{(below / name).as_posix()}"
        if len(images) != 1:
            code = "E_IMG_AMBIGUOUS" if images else "E_IMG_MISSING"
            yield Remark(place, 0, code, f"images of that name: {', '.join(images) or 'none'}")
            continue
        for line, raw in read_lines(folder / name):
            if raw is None:
                yield Remark(place, line, "E_ROW_SIZE", "a line of more than a mebibyte")
                continue
            text, remark = decode(raw, place, line)
            if remark:
                yield remark
            if _is_label(text):
                yield Remark(
                    place, line, "E_TEXT_TYPE", f"numbers, as YOLO's labels are, and no phrase: {text.strip()}"
                )
            elif text.strip():
                yield Row(place, line, (below / images[0]).as_posix(), text.strip("\r\n"))


def _is_label(text: str) -> bool:
    """Whether a line is an object's label: numbers and at most the word of its class, as YOLO, KITTI, VisDrone have."""
    words = [word for word in BETWEEN.split(text) if word]
    numbers = sum(map(_is_number, words))
    return numbers >= 4 and len(words) - numbers <= 1


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
