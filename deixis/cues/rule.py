"""Cues by rule: an expression is cut at words of closed classes. No model; what every other source falls back to.

The table of nine expressions in the tests is the specification. Beyond it the noun is looked for before "of" and
among words that are no places, so that "left of the bus" asks for an object and not for a bus.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.cues.answers import Answer, Phrase, first_distinct
from deixis.cues.word_classes import (
    BEFORE_TO,
    COPULAS,
    DETERMINERS,
    END_OF_NOUN,
    NOUNS_IN_ING,
    PLACES,
    PREPOSITIONS,
    RELATIVISERS,
    TAKE_AN_OBJECT,
    VERBS,
)
from deixis.language.location_words import ORDINALS
from deixis.language.text import normalise

RULE = "rule-v2"  # raise it with any change of what `rule_cues` answers
NO_NOUN = "object"


def rule_cues(text: str) -> list[str]:
    """Split an expression into one to five cues about its target, coarse to fine.

    Args:
        text: An expression, as it was written or normalised; commas and the like separate where they are left.
    """
    clauses = [words for clause in re.split(r"[,;:.!?]", text) if (words := normalise(clause).split())]
    head, segments = _cut([_without_ands(words) for words in clauses])
    while head and head[0] in DETERMINERS | {"that"}:
        head = head[1:]
    noun = _noun(head)
    if noun is None and head:  # "far right", "second from the left": a place, and no word for what is there
        head, segments = [], _glue([head, *segments])
    cues = [noun, " ".join(head)] if noun else []
    cues += [" ".join([noun or NO_NOUN, *segment]) for segment in segments]
    return list(first_distinct(cues)) or [NO_NOUN]


def _cut(clauses: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Head phrase, empty where there is none, and what is said of it."""
    head: list[str] = []
    segments: list[list[str]] = []
    for number, words in enumerate(clauses):
        pieces: list[list[str]] = [[]]
        for place, word in enumerate(words):
            if _starts_segment(words, place, pieces[-1]):
                pieces.append([])
            pieces[-1].append(word)
        if number == 0:
            head = pieces.pop(0)
        segments += _glue([piece for piece in pieces if piece])
    return _without_ands(head), [piece for segment in segments if (piece := _without_ands(segment))]


def _starts_segment(words: list[str], place: int, current: list[str]) -> bool:
    word = words[place]
    before, after = words[place - 1] if place else "", words[place + 1] if place + 1 < len(words) else ""
    if (word == "to" and before in BEFORE_TO) or (word == "from" and before in ORDINALS):
        return False
    if word in PREPOSITIONS or (word in BEFORE_TO and after == "to"):
        return True
    if word in RELATIVISERS:
        return place > 0  # "that man" opens with a determiner
    if word in VERBS:
        return not (len(current) > 1 and current[0] in RELATIVISERS)  # "whose hair is long" is one thing said
    return _is_participle(word) and not _is_adjective(words, place)


def _is_participle(word: str) -> bool:
    return len(word) > 4 and word.endswith("ing") and word not in NOUNS_IN_ING


def _is_adjective(words: list[str], place: int) -> bool:
    """Whether a participle stands before the noun: "smiling girl", but not "smiling at us" or "wearing a hat"."""
    if any(word not in DETERMINERS for word in words[:place]) or words[place] in TAKE_AN_OBJECT:
        return False
    following = words[place + 1 : place + 2]
    closed = DETERMINERS | PREPOSITIONS | RELATIVISERS | VERBS
    return bool(following) and following[0] not in closed and not _is_participle(following[0])


def _glue(pieces: list[list[str]]) -> list[list[str]]:
    """Join a lone word to what follows it ("sitting" + "on the couch"); drop lone relativisers and copulas."""
    glued: list[list[str]] = []
    waiting: list[str] = []
    for piece in pieces:
        if len(piece) == 1 and piece[0] in RELATIVISERS | COPULAS:
            continue
        joined = waiting + piece
        waiting = joined if len(piece) == 1 else []
        if not waiting:
            glued.append(joined)
    return [*glued, waiting] if waiting else glued


def _noun(head: list[str]) -> str | None:
    """Last word that is neither a determiner nor a place, of those before "of"."""
    end = next((place for place, word in enumerate(head) if word in END_OF_NOUN), len(head))
    nouns = [word for word in head[:end] if word not in DETERMINERS | PLACES]
    return nouns[-1] if nouns else None


def _without_ands(words: list[str]) -> list[str]:
    start, end = 0, len(words)
    while start < end and words[start] == "and":
        start += 1
    while end > start and words[end - 1] == "and":
        end -= 1
    return words[start:end]


def fall_back(phrase: Phrase, error: str) -> Answer:
    """The rule's answer in place of one that failed; `error` says why, without keys and addresses."""
    return replace(_by_rule(phrase), fallback=True, error=error)


def _by_rule(phrase: Phrase) -> Answer:
    return Answer(tuple(rule_cues(phrase.expression or phrase.text)), RULE)


@dataclass(frozen=True, config=STRICT)
class NoSettings:
    """`rule` and `none` have nothing to set."""


class RuleCues:
    """Cues by rule."""

    Config = NoSettings
    inputs = ()

    def __init__(self, config: NoSettings) -> None:
        self.config = config

    def answer(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """Split every phrase."""
        return [_by_rule(phrase) for phrase in phrases]


class NoCues:
    """The whole expression as its only cue, which turns PCNet's stages into repetitions of the full text."""

    Config = NoSettings
    inputs = ()

    def __init__(self, config: NoSettings) -> None:
        self.config = config

    def answer(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """Repeat every phrase."""
        return [Answer((phrase.text,), "none") for phrase in phrases]
