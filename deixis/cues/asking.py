"""Asking a source about all phrases, so that a killed run goes on where it stopped."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deixis.core.progress import track
from deixis.cues.answers import Answer, CueSource, Phrase
from deixis.cues.reading import parse_record

CHUNK = 64  # phrases per call of a source, and the most that a killed run asks again


def ask_all(phrases: Sequence[Phrase], source: CueSource, *, scratch: Path, belongs_to: dict[str, Any]) -> list[str]:
    """One JSON line per phrase, in their order.

    Args:
        scratch: File of this very run (its name is the hash of all inputs). Chunks are the same in a run that goes on
            as in one that was never stopped, since what a model says may depend on what shares its batch.
        belongs_to: What every record says first: dataset and split_by.
    """
    scratch.parent.mkdir(parents=True, exist_ok=True)
    lines = _whole_chunks(scratch, phrases)
    scratch.write_text("".join(lines), encoding="utf-8")  # without what was half written
    starts = range(len(lines), len(phrases), CHUNK)
    with scratch.open("a", encoding="utf-8") as stream:
        for start in track(starts, "writing cues", total=len(starts)):
            chunk = phrases[start : start + CHUNK]
            answers = source.answer(chunk)
            new = [_line(belongs_to, phrase, answer) for phrase, answer in zip(chunk, answers, strict=True)]
            stream.write("".join(new))
            stream.flush()
            lines += new
    return lines


def _whole_chunks(scratch: Path, phrases: Sequence[Phrase]) -> list[str]:
    """Lines that an earlier run finished, as far as they make whole chunks."""
    if not scratch.exists():
        return []
    lines = scratch.read_bytes().decode(errors="replace").split("\n")[:-1]  # the last one may be cut short
    count = 0
    for line, phrase in zip(lines, phrases, strict=False):
        record = parse_record(line)
        if record is None or record["text"] != phrase.text:
            break
        count += 1
    whole = count if count == len(phrases) else count // CHUNK * CHUNK
    return [f"{line}\n" for line in lines[:whole]]


def _line(belongs_to: dict[str, Any], phrase: Phrase, answer: Answer) -> str:
    digest = hashlib.sha1(phrase.text.encode(), usedforsecurity=False).hexdigest()
    identity = {"ref_id": phrase.ref_id, "sent_id": phrase.sent_ids[0], "text": phrase.text, "text_sha1": digest}
    return json.dumps(belongs_to | identity | asdict(answer), ensure_ascii=False, allow_nan=False) + "\n"
