"""What a source of cues is asked and what it answers."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from deixis.core.errors import ConfigError

MAX_CUES = 5  # Source: PCNet, K


@dataclass(frozen=True)
class Phrase:
    """A distinct text and the sentences that say it.

    Attributes:
        text: Normalised expression (`deixis.language.text.normalise`).
        ref_id: Referred object of the first of those sentences; None where the set does not group phrases by object.
        sent_ids: All of them, in the order of the table of pairs.
        expression: As the first of them was written; the normalised text has lost its commas. Empty where unknown.
    """

    text: str
    ref_id: int | str | None
    sent_ids: tuple[int | str, ...]
    expression: str = ""


@dataclass(frozen=True)
class Answer:
    """Cues of one phrase and where they come from.

    Attributes:
        cues: One to five, coarse to fine, unpadded, no two the same.
        source: Who made them: `rule-v2`, `spacy:<model>@<version>`, `hf:<repo>@<revision>`, `openai:<model>`.
        prompt_sha1: Version of the prompt; None where there was none.
        gen: Decoding settings; None where nothing was decoded.
        fallback: Whether the rule stands in for a source that failed.
        error: Why it failed, in words that can be counted; empty where it did not.
    """

    cues: tuple[str, ...]
    source: str
    prompt_sha1: str | None = None
    gen: dict[str, Any] | None = None
    fallback: bool = False
    error: str = ""


@runtime_checkable
class CueSource(Protocol):
    """Splits expressions into cues.

    What is wrong with its settings is refused with a ConfigError when it is built. Afterwards it answers every phrase,
    in order, and where its model fails it answers by rule and says so.

    Attributes:
        inputs: What decides the answers beside the settings: a model's version, files by their content.
    """

    inputs: tuple[Any, ...]

    def answer(self, phrases: Sequence[Phrase]) -> list[Answer]: ...


def first_distinct(cues: Sequence[str]) -> tuple[str, ...]:
    """The first five different cues."""
    return tuple(dict.fromkeys(cues))[:MAX_CUES]


def import_extra(package: str) -> ModuleType:
    """Import a package that only the optional extra of the same name installs.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise ConfigError(
            f'cues.source is "{package}", but the package {package} is not installed. Allowed without it: rule, hf, '
            f"cache, none. Run: uv sync --extra {package}"
        ) from None
