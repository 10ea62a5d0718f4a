"""Rows of JSON: one object per line, or one list of objects."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from deixis.core.errors import DataError
from deixis.datasets.foreign_json import parse_json
from deixis.datasets.pairs.rows import Remark, RowOrRemark, make_row
from deixis.datasets.pairs.settings import Format, PairsConfig
from deixis.datasets.pairs.text_lines import decode, read_lines, read_whole

SPREAD = "an object spread over several lines; allowed: a whole one per line, or a .json file with one list of them"
FIRST_LINES = 100  # among which an object is looked for, to see its keys


def read_jsonl(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """One object per line; a line that is none is refused alone."""
    for line, raw in read_lines(path):
        if raw is None:
            yield Remark(file, line, "E_ROW_SIZE", "a line of more than a mebibyte")
            continue
        text, remark = decode(raw, file, line)
        if not text.strip():
            continue
        if remark:
            yield remark
        try:
            values = parse_json(text)
        except (ValueError, RecursionError) as error:
            problem = SPREAD if text.strip() in ("{", "[") else f"{error}: {text.strip()}"
            yield Remark(file, line, "E_ROW_BROKEN", problem)
            continue
        yield _row_of(file, line, values, config)


def read_json_list(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """One list of objects. It is read whole: for very many rows use JSONL or Parquet."""
    rows, remarks = load_json(path, file)
    if not isinstance(rows, list):
        raise DataError(
            f"{path}: a {type(rows).__name__}. Allowed: a list of objects, or COCO with images and annotations. "
            "Write it so"
        )
    yield from remarks
    for line, values in enumerate(rows):
        yield _row_of(file, line, values, config)


def first_keys(path: Path, kind: Format) -> list[str]:
    """Keys of the first object of a list, or of the first lines."""
    if kind == "json":
        rows, _ = load_json(path, path.name)
    else:
        lines = (raw for _, raw in islice(read_lines(path), FIRST_LINES) if raw)
        rows = map(_object_or_none, lines)
    return next((list(row) for row in rows if isinstance(row, dict)), [])


def _object_or_none(raw: bytes) -> Any:
    try:
        return parse_json(raw)
    except (ValueError, RecursionError):
        return None


def _row_of(file: str, line: int, values: Any, config: PairsConfig) -> RowOrRemark:
    if not isinstance(values, dict):
        return Remark(file, line, "E_ROW_BROKEN", f"a {type(values).__name__}, not a plain object: {values}")
    return make_row(file, line, values, config.fields)


def load_json(path: Path, file: str) -> tuple[Any, list[Remark]]:
    """The value that a JSON file holds, and a remark where it is not Unicode.

    Raises:
        DataError: If it holds none.
    """
    text, remark = read_whole(path, file)
    try:
        return parse_json(text), [remark] if remark else []
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not valid JSON ({error}). One object per line belongs in a .jsonl file. Fix it"
        ) from None
