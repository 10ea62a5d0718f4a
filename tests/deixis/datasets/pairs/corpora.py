"""Small corpora in every layout that the pairs adapter reads, and how to spoil a row of them."""

import csv
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from deixis.datasets.pairs import PairsAdapter

Values = dict[str, Any]


def image(path: Path, seed: int, *, mode: str = "RGB", size: tuple[int, int] = (30, 20), **save: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **save)
    return path


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def good_rows(raw: Path, count: int = 6) -> list[Values]:
    """Rows over an image each, with everything that a row may have."""
    rows = []
    for number in range(count):
        image(raw / "images" / f"good{number}.png", number)
        rows.append(
            {
                "image": f"good{number}.png",
                "text": f"red ball {number}",
                "id": f"good-{number}",
                "box": [1, 2, 11, 12],
                "split": "train",
                "group": "a",
            }
        )
    return rows


def ingest(raw: Path, out: Path, **settings: Any) -> dict[str, pd.DataFrame]:
    settings = {"boxes": "xyxy_abs", "max_quarantined": 1.0} | settings
    PairsAdapter(PairsAdapter.Config(**settings)).ingest(raw=raw, out=out, dataset="mine")
    return {name: pd.read_parquet(out / f"{name}.parquet") for name in ("pairs", "truth", "images", "objects")} | {
        "quarantine": pd.read_parquet(out / "quarantine.parquet")
    }


def codes(tables: dict[str, pd.DataFrame]) -> list[str]:
    return sorted(tables["quarantine"]["code"])


def write_jsonl(raw: Path, rows: list[Values]) -> None:
    (raw / "pairs.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")


def write_json(raw: Path, rows: list[Values]) -> None:
    (raw / "pairs.json").write_text(json.dumps(rows))


def write_csv(raw: Path, rows: list[Values], *, suffix: str = "csv", delimiter: str = ",") -> None:
    with (raw / f"pairs.{suffix}").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(raw: Path, rows: list[Values]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), raw / "pairs.parquet", row_group_size=4)


def write_hf(raw: Path, rows: list[Values]) -> None:
    """A set without splits, as `Dataset.save_to_disk` lays it out: two shards of Arrow's stream format."""
    write_hf_set(raw, rows)


def write_hf_set(folder: Path, rows: list[Values], *, shards: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    names = [f"data-{number:05d}-of-{shards:05d}.arrow" for number in range(shards)]
    for number, name in enumerate(names):
        part = table.slice(
            number * len(rows) // shards, (number + 1) * len(rows) // shards - number * len(rows) // shards
        )
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(part)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))


def write_coco(raw: Path, rows: list[Values]) -> None:
    """A sentence per annotation; boxes as x, y, width, height."""
    images = [
        {"id": number + 10, "file_name": row["image"], "width": 30, "height": 20} for number, row in enumerate(rows)
    ]
    annotations = []
    for number, row in enumerate(rows):
        left, top, right, bottom = row["box"]
        annotations.append(
            {
                "id": row["id"],
                "image_id": number + 10,
                "category_id": 7,
                "bbox": [left, top, right - left, bottom - top],
                "sentences": row["text"],
                "split": row["split"],
            }
        )
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "ball"}]}
    (raw / "pairs.json").write_text(json.dumps(whole))


WRITERS: dict[str, Callable[[Path, list[Values]], None]] = {
    "jsonl": write_jsonl,
    "json": write_json,
    "csv": write_csv,
    "tsv": lambda raw, rows: write_csv(raw, rows, suffix="tsv", delimiter="\t"),
    "csv of a spreadsheet": lambda raw, rows: write_csv(raw, rows, delimiter=";"),
    "parquet": write_parquet,
    "hf": write_hf,
    "coco": write_coco,
}


class Bad(NamedTuple):
    """A class of bad row.

    Attributes:
        code: Under which it must be listed.
        survives: Whether its pair stays all the same.
        make: Folder and number of the row -> one line of JSONL, with what it needs beside it.
    """

    code: str
    survives: bool
    make: Callable[[Path, int], bytes]


def _row(**values: Any) -> Callable[[Path, int], bytes]:
    """A row with some values replaced; None as a value means without that key."""

    def make(raw: Path, number: int) -> bytes:
        name = f"row{number}.png"
        image(raw / "images" / name, 1000 + number)
        row = {
            "image": name,
            "text": f"blue cube {number}",
            "id": f"bad-{number}",
            "box": [1, 2, 11, 12],
            "split": "train",
        }
        return json.dumps({key: value for key, value in (row | values).items() if value is not DROPPED}).encode()

    return make


DROPPED = object()


def _with_file(write: Callable[[Path, int], Any], suffix: str, **values: Any) -> Callable[[Path, int], bytes]:
    """A row about an image file that `write` makes from its path and a seed."""

    def make(raw: Path, number: int) -> bytes:
        path = raw / "images" / f"made{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, 2000 + number)
        return _row(image=path.name, **values)(raw, number)

    return make


def _truncated(path: Path, seed: int) -> None:
    whole = image(path, seed, size=(200, 200)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _bomb(path: Path, seed: int) -> None:
    """A PNG of a few kilobytes that unfolds to 80 megapixels."""
    Image.new("1", (10_000, 8_000)).save(path)


def _zip(path: Path, seed: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped.png", b"x" * 100)


def _frames(path: Path, seed: int) -> None:
    first, second = (Image.new("RGB", (30, 20), colour) for colour in ((seed % 256, 0, 0), (0, seed % 256, 9)))
    first.save(path, save_all=True, append_images=[second])


def _deep(path: Path, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 65535, (20, 30), dtype=np.uint16)).save(path)


def _real(path: Path, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).random((20, 30), dtype=np.float32)).save(path)


def _link_out(path: Path, seed: int) -> None:
    outside = image(path.parents[2] / "outside" / path.name, seed)
    path.symlink_to(outside)


def _copy_of_first(path: Path, seed: int) -> None:
    path.write_bytes((path.parent / "good0.png").read_bytes())


BAD: dict[str, Bad] = {
    "not JSON": Bad("E_ROW_BROKEN", False, lambda raw, n: b"image, text"),
    "cut short": Bad("E_ROW_BROKEN", False, lambda raw, n: _row()(raw, n)[:-9]),
    "a list": Bad("E_ROW_BROKEN", False, lambda raw, n: b'["good0.png", "red"]'),
    "a number": Bad("E_ROW_BROKEN", False, lambda raw, n: b"7"),
    "null": Bad("E_ROW_BROKEN", False, lambda raw, n: b"null"),
    "nested without end": Bad("E_ROW_BROKEN", False, lambda raw, n: b'{"image":' + b"[" * 100_000),
    "no text key": Bad("E_ROW_BROKEN", False, _row(text=DROPPED)),
    "no image key": Bad("E_ROW_BROKEN", False, _row(image=DROPPED)),
    "image is a number": Bad("E_ROW_BROKEN", False, _row(image=7)),
    "an endless line": Bad("E_ROW_SIZE", False, lambda raw, n: b'{"text": "' + b"x" * (3 << 20) + b'"}'),
    "Latin-1": Bad("W_ENCODING", True, lambda raw, n: _row(text="caf@ door")(raw, n).replace(b"@", b"\xe9")),
    "image does not exist": Bad("E_IMG_MISSING", False, _row(image="nowhere.png")),
    "image is null": Bad("E_IMG_MISSING", False, _row(image=None)),
    "image is empty": Bad("E_IMG_MISSING", False, _row(image="")),
    "image struct of nothing": Bad("E_IMG_MISSING", False, _row(image={"bytes": None, "path": None})),
    "image is a folder": Bad("E_IMG_MISSING", False, _with_file(lambda path, seed: path.mkdir(), ".png")),
    "image is a pipe": Bad("E_IMG_MISSING", False, _with_file(lambda path, seed: os.mkfifo(path), ".png")),
    "a loop of links": Bad("E_IMG_MISSING", False, _with_file(lambda path, seed: path.symlink_to(path.name), ".png")),
    "path goes up": Bad("E_IMG_PATH", False, _row(image="../../outside.png")),
    "path is absolute": Bad("E_IMG_PATH", False, _row(image="/etc/hostname")),
    "link leads out": Bad("E_IMG_PATH", False, _with_file(_link_out, ".png")),
    "line end in a path": Bad("E_IMG_PATH", False, _row(image="a\nb.png")),
    "NUL in a path": Bad("E_IMG_PATH", False, _row(image="a\0b.png")),
    "half a surrogate in a path": Bad("E_IMG_PATH", False, _row(image="a\ud800.png")),
    "an endless path": Bad("E_IMG_PATH", False, _row(image="a" * 5000)),
    "remote": Bad("E_IMG_URL", False, _row(image="https://example.org/a.png")),
    "bucket": Bad("E_IMG_URL", False, _row(image="s3://bucket/a.png")),
    "data address": Bad("E_IMG_URL", False, _row(image="data:image/png;base64,iVBORw0KGgo=")),
    "empty file": Bad("E_IMG_EMPTY", False, _with_file(lambda path, seed: path.touch(), ".png")),
    "text as image": Bad("E_IMG_KIND", False, _with_file(lambda path, seed: path.write_text("hello"), ".jpg")),
    "drawing": Bad("E_IMG_KIND", False, _with_file(lambda path, seed: path.write_text("<svg/>"), ".svg")),
    "PostScript": Bad("E_IMG_KIND", False, _with_file(lambda path, seed: image(path, seed), ".eps")),
    "archive as image": Bad("E_IMG_KIND", False, _with_file(_zip, ".png")),
    "real-valued levels": Bad("E_IMG_KIND", False, _with_file(_real, ".tif")),
    "bomb": Bad("E_IMG_HUGE", False, _with_file(_bomb, ".png")),
    "half a JPEG": Bad("E_IMG_TRUNC", False, _with_file(_truncated, ".jpg")),
    "half a PNG": Bad("E_IMG_TRUNC", False, _with_file(_truncated, ".png")),
    "half a WebP": Bad("E_IMG_TRUNC", False, _with_file(_truncated, ".webp")),
    "turned by EXIF": Bad("W_EXIF", True, _with_file(lambda p, seed: image(p, seed, exif=turned(6)), ".jpg")),
    "animated": Bad("W_IMG_FRAMES", True, _with_file(_frames, ".gif")),
    "transparent": Bad("W_IMG_MODE", True, _with_file(lambda p, seed: image(p, seed, mode="RGBA"), ".png")),
    "CMYK": Bad("W_IMG_MODE", True, _with_file(lambda p, seed: image(p, seed, mode="CMYK"), ".jpg")),
    "16 bits": Bad("W_IMG_MODE", True, _with_file(_deep, ".png")),
    "an image twice": Bad("W_IMG_DUP", True, _with_file(_copy_of_first, ".png")),
    "text is empty": Bad("E_TEXT_EMPTY", False, _row(text="")),
    "text is blank": Bad("E_TEXT_EMPTY", False, _row(text=" \t ")),
    "text is punctuation": Bad("E_TEXT_EMPTY", False, _row(text="?!...")),
    "text is control characters": Bad("E_TEXT_EMPTY", False, _row(text="\x00\x07")),
    "text is null": Bad("E_TEXT_EMPTY", False, _row(text=None)),
    "no phrase in the list": Bad("E_TEXT_EMPTY", False, _row(text=[])),
    "text is a number": Bad("E_TEXT_TYPE", False, _row(text=7)),
    "text is an object": Bad("E_TEXT_TYPE", False, _row(text={"raw": "red"})),
    "text is a book": Bad("E_TEXT_SIZE", False, _row(text="word " * 3000)),
    "half a surrogate": Bad("E_TEXT_ENCODING", False, _row(text="red \ud800")),
    "text is long": Bad("W_TEXT_LONG", True, _row(text="very " * 30 + "red")),
    "control character": Bad("W_TEXT_CONTROL", True, _row(text="red\x07 cup")),
    "soft hyphen alone": Bad("E_TEXT_EMPTY", False, _row(text="\u00ad\u2060")),
    "a key twice": Bad("E_ROW_BROKEN", False, lambda raw, n: _row()(raw, n)[:-1] + b', "text": "green cube"}'),
    "byte order mark inside": Bad("W_TEXT_CONTROL", True, _row(text="\ufeffred cup")),
    "phrase twice": Bad("W_DUP_TEXT", True, _row(image="good0.png", text="Red ball, 0!")),
    "id twice": Bad("E_ID_DUP", False, _row(id="good-0")),
    "id is an object": Bad("E_ID_BAD", False, _row(id={"n": 1})),
    "id is a truth value": Bad("E_ID_BAD", False, _row(id=True)),
    "id is half": Bad("E_ID_BAD", False, _row(id=1.5)),
    "id is endless": Bad("E_ID_BAD", False, _row(id="x" * 300)),
    "id with line end": Bad("E_ID_BAD", False, _row(id="a\nb")),
    "group is a list": Bad("E_ID_BAD", False, _row(group=[1])),
    "no split": Bad("E_SPLIT_BAD", False, _row(split=DROPPED)),
    "split is a path": Bad("E_SPLIT_BAD", False, _row(split="../val")),
    "split is a number": Bad("E_SPLIT_BAD", False, _row(split=3)),
    "three numbers": Bad("E_BOX_BROKEN", True, _row(box=[1, 2, 3])),
    "words as box": Bad("E_BOX_BROKEN", True, _row(box="left of it")),
    "not a number": Bad("E_BOX_BROKEN", True, _row(box=[1, 2, 3, float("nan")])),
    "infinite": Bad("E_BOX_BROKEN", True, _row(box=[1, 2, 3, float("inf")])),
    "null in a box": Bad("E_BOX_BROKEN", True, _row(box=[1, 2, 3, None])),
    "box is an object": Bad("E_BOX_BROKEN", True, _row(box={"x": 1})),
    "shares for pixels": Bad("E_BOX_RANGE", True, _row(box=[0.1, 0.2, 0.5, 0.6])),
    "corners swapped": Bad("E_BOX_RANGE", True, _row(box=[11, 12, 1, 2])),
    "no width": Bad("E_BOX_DEGENERATE", True, _row(box=[5, 5, 5, 9])),
    "box elsewhere": Bad("E_BOX_DEGENERATE", True, _row(box=[100, 100, 120, 120])),
    "box sticks out": Bad("W_BOX_OUTSIDE", True, _row(box=[20, 10, 40, 15])),
    "to be scored without a box": Bad("E_BOX_MISSING", False, _row(split="val", box=DROPPED)),
}
