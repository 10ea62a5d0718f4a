"""Cues that were written before: a `cues.jsonl` of ours, or a folder in the layout of PCNet's released code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError, DataError
from deixis.cues.answers import Answer, Phrase, first_distinct
from deixis.cues.reading import answer_of, read_records
from deixis.cues.rule import fall_back
from deixis.language.text import normalise


@dataclass(frozen=True, config=STRICT)
class CacheConfig:
    """Settings of `cache`. DVC does not watch the file: after a change of it, dvc repro -f write_cues."""

    path: Path  # cues.jsonl, or a folder of <ref_id>.json with {sent_id: [phrases]}
    when_missing: Literal["rule", "refuse"] = "rule"  # what to do about a phrase that it has no cues of


class CachedCues:
    """Looks cues up: in our file by text, so that partitions share them; in such a folder by `sent_id`.

    Raises:
        ConfigError: If there is no such file or folder.
    """

    Config = CacheConfig

    def __init__(self, config: CacheConfig) -> None:
        self._config = config
        if not config.path.exists():
            raise ConfigError(
                f"cues.settings.path is {config.path}: no such file or folder. Allowed: a cues.jsonl, or a folder of "
                "<ref_id>.json. Fix params.yaml, then run: dvc repro write_cues"
            )
        self._by_text: dict[str, Answer] = {}
        self._by_sentence: dict[str, Answer | None] = {}
        self.inputs = tuple(sorted(config.path.glob("*.json"))) if config.path.is_dir() else (config.path,)
        if config.path.is_dir():
            self._by_sentence = read_folder(config.path)
        else:
            self._by_text = {record["text"]: answer_of(record) for record in read_records(config.path)}

    def answer(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """Look every phrase up."""
        return [self._find(phrase) or self._without(phrase) for phrase in phrases]

    def _find(self, phrase: Phrase) -> Answer | None:
        answers = [self._by_sentence.get(str(sent_id)) for sent_id in phrase.sent_ids]
        return next((answer for answer in answers if answer), self._by_text.get(phrase.text))

    def _without(self, phrase: Phrase) -> Answer:
        if self._config.when_missing == "refuse":
            raise DataError(
                f'{self._config.path}: holds no cues of "{phrase.text}". Add them, or set cues.settings.when_missing '
                "to rule in params.yaml, then run: dvc repro write_cues"
            )
        is_there = any(str(sent_id) in self._by_sentence for sent_id in phrase.sent_ids)
        return fall_back(phrase, "an entry that is no list of texts" if is_there else "not in the cache")


def read_folder(folder: Path) -> dict[str, Answer | None]:
    """Cues by sentence from a folder of <ref_id>.json; None where an entry is no list of texts.

    PCNet's code matches phrases to sentences by their order in the file; their keys say it, so those count here.

    Raises:
        DataError: If the folder holds no such file, or one of them is something else.
    """
    answers: dict[str, Answer | None] = {}
    files = sorted(folder.glob("*.json"))
    for path in files:
        try:
            answers |= _read_sentences(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{path}: not the phrases of one object ({reason}). Allowed: {{sent_id: [phrase, ...]}}. Restore the "
                "file, then run: dvc repro write_cues"
            ) from None
    if not files:
        raise DataError(
            f"{folder}: holds no <ref_id>.json. Name another folder in cues.settings.path in params.yaml, "
            "then run: dvc repro write_cues"
        )
    return answers


def _read_sentences(sentences: Any) -> dict[str, Answer | None]:
    answers: dict[str, Answer | None] = {}
    for sent_id, phrases in sentences.items():
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            answers[sent_id] = None  # text itself is a sequence of texts: its letters
        elif cues := first_distinct([cue for phrase in phrases if (cue := normalise(phrase))]):
            answers[sent_id] = Answer(cues, "imported")
    return answers
