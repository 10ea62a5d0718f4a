"""Damage to a file: to its bytes, or to the values that they stand for."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# What people and programs leave in files, and what parsers stumble over
HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 7, 1 << 31, 1 << 63, -(1 << 70), 0.5, float("inf"), float("nan"), 1e308, "", " ", "0", "null",
    "NaN", "\x00", "\ud800", "\ufeff", "a" * 3000, "../../etc/passwd", "/etc/passwd", "=1+1", "2024-13-45", [], {},
    [[]], [None], {"": None}, {"size": [1, 1], "counts": "0"}, [1, 2, 3], [float("nan")] * 4, [[1, 2], [3]],
    "https://a/b.png",
)  # fmt: skip
PIECES = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b'"',
    b"'",
    b"[",
    b"{",
    b"\\",
    b",",
    b";",
    b"\x80",
    b"&a *a",
)


def mutate(path: Path, random: Random) -> None:
    """Damage a file in place, in the way that suits its kind or byte by byte."""
    by_value = BY_VALUE.get(path.suffix)
    if by_value is not None and random.random() < 0.6:
        try:
            by_value(path, random)
            return
        except (TypeError, ValueError, OverflowError, pa.ArrowException):
            pass  # not every value can be written in every format
    path.write_bytes(damaged(path.read_bytes(), random))


def damage_one_row(path: Path, rows: str, random: Random) -> int:
    """Damage one row and no other; which one it was. `rows` says where they are, as in `Kind`."""
    if rows == "lines":
        lines = path.read_bytes().split(b"\n")
        place = random.randrange(len(lines) - 1)  # behind the last line end is nothing
        lines[place] = damaged(lines[place], random).replace(b"\n", b" ").replace(b"\r", b" ")
        path.write_bytes(b"\n".join(lines))
        return place
    is_pickle = path.suffix == ".p"
    whole = pickle.loads(path.read_bytes()) if is_pickle else json.loads(path.read_text())
    listed = whole if rows == "list" else whole[rows]
    place = random.randrange(len(listed))
    listed[place] = change_value(listed[place], random)
    path.write_bytes(pickle.dumps(whole, 2) if is_pickle else json.dumps(whole).encode())
    return place


def damaged(content: bytes, random: Random) -> bytes:
    """A few bytes changed, added, left out or repeated, or the rest cut off."""
    whole = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        place = random.randrange(len(whole) + 1)
        end = min(len(whole), place + random.choice((1, 2, 8, 64)))
        match random.randrange(6):
            case 0:
                whole[place:end] = bytes(random.randrange(256) for _ in range(end - place))
            case 1:
                del whole[place:end]
            case 2:
                whole[place:place] = random.choice(PIECES) * random.choice((1, 1, 2, 500))
            case 3:
                whole[place:place] = whole[place:end]
            case 4 if place < len(whole):
                whole[place] ^= 1 << random.randrange(8)
            case 5 if random.random() < 0.3:
                del whole[place:]
            case _:
                pass
    return bytes(whole)


def change_value(value: Any, random: Random) -> Any:
    """The value with one that lies in it, at whatever depth, replaced, left out or repeated."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        if random.random() < 0.2:
            return {name: part for name, part in value.items() if name != key}
        return value | {key: change_value(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        place = random.randrange(len(value))
        if random.random() < 0.1:
            return [*value, value[place]]
        return [*value[:place], change_value(value[place], random), *value[place + 1 :]]
    return random.choice(HOSTILE)


def _json(path: Path, random: Random) -> None:
    path.write_text(json.dumps(change_value(json.loads(path.read_text()), random)), encoding="utf-8")


def _json_lines(path: Path, random: Random) -> None:
    lines = path.read_text().splitlines()
    place = random.randrange(len(lines))
    lines[place] = json.dumps(change_value(json.loads(lines[place]), random))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pickle(path: Path, random: Random) -> None:
    path.write_bytes(pickle.dumps(change_value(pickle.loads(path.read_bytes()), random), 2))


def _parquet(path: Path, random: Random) -> None:
    """One value changed, or a whole column, whose type then changes, too."""
    rows = pq.read_table(path).to_pylist()
    column, hostile = random.choice(list(rows[0])), random.choice(HOSTILE)
    chosen = random.choice((range(len(rows)), [random.randrange(len(rows))]))
    for place in chosen:
        rows[place][column] = hostile if random.random() < 0.5 else change_value(rows[place][column], random)
    other = path.with_suffix(".part")  # a table that cannot be written leaves no file
    pq.write_table(pa.Table.from_pylist(rows), other)
    other.replace(path)


BY_VALUE: dict[str, Callable[[Path, Random], None]] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".p": _pickle,
    ".parquet": _parquet,
}
