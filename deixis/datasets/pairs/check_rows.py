"""Each row for itself: its text, its names, the form of its box. What needs other rows or the image comes later."""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from deixis.datasets.pairs.box_conventions import parse_box, stored
from deixis.datasets.pairs.ledger import BATCH, Ledger
from deixis.datasets.pairs.rows import Remark, Row, RowOrRemark, refuse_unnamed_boxes
from deixis.datasets.pairs.settings import PairsConfig
from deixis.datasets.segmentations import is_absent
from deixis.datasets.tables import known_split, whole
from deixis.language.text import normalise

MAX_CHARACTERS = 10_000
MAX_NAME = 200
GIVEN_BUT_BAD = "[]"  # stands for a box that was refused, so that it does not count as missing too
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|data:")
_SPLIT = re.compile(r"[A-Za-z0-9_-]{1,32}")
_ODD = re.compile(r"[^A-Za-z0-9_-]+")


class BadValue(ValueError):
    """A value that refuses its row; carries the code."""

    def __init__(self, code: Any, value: object) -> None:
        super().__init__(str(value))
        self.remark = (code, value)


def stage_rows(
    items: Iterable[RowOrRemark],
    ledger: Ledger,
    *,
    dataset: str,
    config: PairsConfig,
    blobs: Path,
    scored: bool = True,
) -> int:
    """Bring rows into the ledger, a batch at a time; returns how many were left out for their split.

    Args:
        blobs: Folder for images that lie inside the rows, each once, named by its checksum.
        scored: Whether splits decide anything; else a row whose split has an odd name is as good as any.
    """
    left_out = 0
    stream = iter(items)
    while batch := list(islice(stream, BATCH)):
        images, rows, remarks = [], [], []
        counts: dict[str, int] = {}
        for item in batch:
            if isinstance(item, Remark):
                remarks.append(item)
                counts[item.file] = counts.get(item.file, 0) + item.code.startswith("E_")
                continue
            counts[item.file] = counts.get(item.file, 0) + 1
            try:
                split = _read_split(item.split) if scored else _any_split(item.split)
                if config.splits and split is not None and split not in config.splits:
                    left_out += 1
                    continue
                name, inline = _read_image(item.image, blobs)
                images.append((name, inline, item.file, item.line, *map(_side, item.stated_wh)))
                rows.extend(_stage(item, (name, inline), _rename(split, config), dataset, config, remarks))
            except BadValue as bad:
                remarks.append(Remark(item.file, item.line, *bad.remark))
        ledger.add_images(images)
        ledger.add_rows(rows)
        ledger.add_remarks(remarks)
        for file, count in counts.items():
            ledger.count_row(file, count)
    return left_out


def _stage(
    row: Row, image: tuple[str, int], split: str | None, dataset: str, config: PairsConfig, remarks: list[Remark]
) -> Iterator[tuple[Any, ...]]:
    """Ledger rows of one source row: one for each phrase that can be used."""
    given = _read_name(row.id)
    group = _read_name(row.group)
    box = _read_box(row, config, remarks)
    segmentation = json.dumps(row.segmentation, default=repr) if box and not is_absent(row.segmentation) else None
    name = f"{dataset}/{given or f'{row.file}:{row.line}'}"
    truth = (box, row.category_id, row.category, segmentation)
    if row.text is None:
        yield (row.file, row.line, *image, None, group, split, None, None, *truth)
        return
    texts = row.text if isinstance(row.text, list) else [row.text]
    if not texts:
        raise BadValue("E_TEXT_EMPTY", "no phrase")
    for place, text in enumerate(texts):
        try:
            expression, words = _read_text(text, row, remarks, config)
        except BadValue as bad:
            remarks.append(Remark(row.file, row.line, *bad.remark))
            continue
        sample = f"{name}/{place}" if isinstance(row.text, list) else name
        yield (row.file, row.line, *image, sample, group, split, expression, words, *truth)


def _read_text(text: Any, row: Row, remarks: list[Remark], config: PairsConfig) -> tuple[str, str]:
    """A phrase as given, but for control characters, and as models read it."""
    if text is None:
        raise BadValue("E_TEXT_EMPTY", "null")
    if not isinstance(text, str):
        raise BadValue("E_TEXT_TYPE", f"a {type(text).__name__}: {text}")
    if len(text) > MAX_CHARACTERS:
        raise BadValue("E_TEXT_SIZE", f"{len(text)} characters; allowed: {MAX_CHARACTERS}")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise BadValue("E_TEXT_ENCODING", f"half of a surrogate pair: {text!r}")
    expression = text if text.isprintable() else "".join(filter(_is_text, text))
    words = normalise(expression)
    if not words:
        raise BadValue("E_TEXT_EMPTY", repr(text))
    if expression != text:
        remarks.append(Remark(row.file, row.line, "W_TEXT_CONTROL", repr(text)))
    if words.count(" ") >= config.long_text:
        remarks.append(Remark(row.file, row.line, "W_TEXT_LONG", f"{words.count(' ') + 1} words: {expression}"))
    return expression, words


def _is_text(character: str) -> bool:
    """Neither a control character nor a byte order mark; tabs and line ends are text."""
    return character in "\t\r\n" or (unicodedata.category(character) != "Cc" and character != "\ufeff")


def _has_control(name: str) -> bool:
    """Whether a name holds control characters or halves of surrogate pairs; odd spaces are common in file names."""
    return not name.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def _read_image(image: Any, blobs: Path) -> tuple[str, int]:
    """Name of an image and whether it lay in the row; its bytes are then written to `blobs`."""
    if isinstance(image, bytes) and image:
        name = hashlib.sha256(image).hexdigest()
        if not (blobs / name).exists():
            (blobs / name).write_bytes(image)
        return name, 1
    if image is None or image in ("", b""):
        raise BadValue("E_IMG_MISSING", "no image named")
    if not isinstance(image, str):
        raise BadValue("E_ROW_BROKEN", f"an image cannot be a {type(image).__name__}: {image}")
    if _REMOTE.match(image):
        raise BadValue("E_IMG_URL", image)
    if _has_control(image):
        raise BadValue("E_IMG_PATH", repr(image))
    return image, 0


def _read_name(value: Any) -> str | None:
    """An id or group as text; numbers lose the ".0" that tables with gaps give them. None where there is none."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    value = whole(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadValue("E_ID_BAD", f"a {type(value).__name__}: {value}")
    name = str(value).strip()
    if not name or len(name) > MAX_NAME or _has_control(name):
        raise BadValue("E_ID_BAD", f"{name!r}; allowed: up to {MAX_NAME} characters, no control characters")
    return name


def _read_split(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _SPLIT.fullmatch(value.strip()):
        raise BadValue("E_SPLIT_BAD", f"{value!r}; allowed: letters, digits, - and _")
    return value.strip()


def _any_split(value: Any) -> str | None:
    """A split's name where it decides nothing: whatever it is, in letters that it may have."""
    return None if value is None else _ODD.sub("_", str(value).strip())[:32].strip("_") or None


def _rename(split: str | None, config: PairsConfig) -> str | None:
    if split is None:
        return None
    return config.splits[split] if config.splits else known_split(split)


def _read_box(row: Row, config: PairsConfig, remarks: list[Remark]) -> str | None:
    if config.boxes == "none":
        return None
    try:
        box = parse_box(row.box)
    except ValueError as error:
        remarks.append(Remark(row.file, row.line, "E_BOX_BROKEN", f"{error}: {row.box}"))
        return GIVEN_BUT_BAD
    if box is not None and config.boxes is None:
        raise refuse_unnamed_boxes(row.file)
    return stored(box) if box else None


def _side(value: Any) -> int | None:
    value = whole(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else None
