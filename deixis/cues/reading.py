"""Reading `cues.jsonl`, and making every phrase's cues as many as training needs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from deixis.core.errors import DataError
from deixis.cues.answers import MAX_CUES, Answer

Padding = Literal["cycle", "last", "full"]
REMEDY = "Run: dvc repro -f write_cues"


def read_cues(path: Path) -> dict[str, list[str]]:
    """Text -> its cues, one to five, coarse to fine.

    Raises:
        DataError: If the file is missing or a line of it is not a record.
    """
    return {record["text"]: record["cues"] for record in read_records(path)}


def pad_cues(cues: Sequence[str], count: int, policy: Padding = "cycle", *, text: str = "") -> list[str]:
    """Exactly `count` cues: the first ones where there are more, padded where there are fewer.

    Args:
        cues: At least one.
        policy: `cycle` starts again from the first, `last` repeats the last, `full` adds the whole expression.
        text: The expression, for `full`. Source of that policy: PCNet's released code.
    """
    assert cues and (text or policy != "full")
    if policy == "cycle":
        return [cues[place % len(cues)] for place in range(count)]
    filler = text if policy == "full" else cues[-1]
    return [*cues, *[filler] * count][:count]


def read_records(path: Path) -> list[dict[str, Any]]:
    """Every line as a record with checked text and cues.

    Raises:
        DataError: If the file is missing or a line of it is not a record.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: missing. It is written by write_cues; run: dvc repro write_cues") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}). {REMEDY}") from None
    records = []
    if not lines[-1]:
        lines.pop()  # the last line ends as the others do
    for number, line in enumerate(lines, start=1):
        record = parse_record(line)
        if record is None:
            raise DataError(f"{path}: line {number} is no record with text and 1 to {MAX_CUES} cues. {REMEDY}")
        records.append(record)
    return records


def parse_record(line: str) -> dict[str, Any] | None:
    """A line as a record; None where it is cut short or lacks text or cues."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    cues = record.get("cues") if isinstance(record, dict) and isinstance(record.get("text"), str) else None
    if not isinstance(cues, list) or not 1 <= len(cues) <= MAX_CUES:
        return None
    return record if all(isinstance(cue, str) and cue for cue in cues) else None


def answer_of(record: dict[str, Any]) -> Answer:
    """A record without what says whose it is; what a foreign one does not state is unknown."""
    return Answer(
        cues=tuple(record["cues"]),
        source=str(record.get("source", "cache")),
        prompt_sha1=record.get("prompt_sha1"),
        gen=record.get("gen"),
        fallback=bool(record.get("fallback", False)),
        error=str(record.get("error") or ""),
    )
