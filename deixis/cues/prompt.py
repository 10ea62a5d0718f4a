"""The question that a language model is asked, in the four parts of the paper, and what counts as an answer."""

import hashlib
import json
import re
from dataclasses import astuple, dataclass
from typing import Any

from deixis.cues.answers import MAX_CUES, Answer, Phrase
from deixis.cues.rule import NO_NOUN, fall_back
from deixis.cues.word_classes import DETERMINERS, PREPOSITIONS, RELATIVISERS, VERBS
from deixis.language.text import normalise

MAX_WORDS = 8
MIN_SHARE_SAID = 0.5  # of a cue's content words that the expression must hold, too
FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | RELATIVISERS | VERBS | {"and", "or", "of", NO_NOUN}


@dataclass(frozen=True)
class Prompt:
    """The parts P_G, P_C, P_E and P_Q, kept apart so that each one's version can be told.

    Source: the parts are PCNet's, the words are ours.

    Attributes:
        task: What is to be done.
        constraints: What an answer must look like.
        examples: Expressions with good answers.
        question: Template that ends the prompt; holds the field `text`.
    """

    task: str
    constraints: str
    examples: tuple[tuple[str, tuple[str, ...]], ...]
    question: str

    def write(self, text: str) -> str:
        """The whole prompt for one expression, as a single turn: not every chat template knows a system's turn."""
        shown = [f"{self.question.format(text=expression)} {json.dumps(cues)}" for expression, cues in self.examples]
        return "\n\n".join([self.task, self.constraints, *shown, self.question.format(text=text)])

    def hashes(self) -> dict[str, str]:
        """SHA-1 of every part."""
        return {name: _sha1(part) for name, part in zip(self.__dataclass_fields__, astuple(self), strict=True)}

    def sha1(self) -> str:
        """Version of the whole."""
        return _sha1(self.hashes())


PROMPT = Prompt(
    task=(
        "A referring expression singles out one target in a picture. Split it into short phrases, every one of which "
        "speaks of that same target."
    ),
    constraints=(
        f"Give 1 to {MAX_CUES} phrases, from coarse to fine, of at most {MAX_WORDS} words each. The first one is the "
        f'target\'s category and nothing else, or "{NO_NOUN}" where the expression names none. Every other one repeats '
        "that noun and adds a single attribute or a single relation. Say nothing that the expression does not say. "
        "Reply with a JSON list of strings and no other words."
    ),
    examples=(
        ("dog on the left", ("dog", "dog on the left")),
        (
            "small brown leather bag with two handles",
            ("bag", "small bag", "brown bag", "leather bag", "bag with two handles"),
        ),
        (
            "the cyclist in a yellow vest waiting behind the truck",
            ("cyclist", "cyclist in a yellow vest", "cyclist waiting behind the truck"),
        ),
        ("top right corner", ("object", "object in the top right corner")),
        ("the cup that a waiter is holding", ("cup", "cup that a waiter is holding")),
    ),
    question="Expression: {text}\nPhrases:",
)


class BadAnswer(Exception):
    """An answer that cannot be used; says why, in words that are the same every time."""


def judge_answer(answer: str, phrase: Phrase, *, finished: bool, source: str, gen: dict[str, Any]) -> Answer:
    """The cues of a model's answer where it is good, those of the rule where it is not."""
    try:
        return Answer(read_answer(answer, phrase.text, finished=finished), source, PROMPT.sha1(), gen)
    except BadAnswer as reason:
        return fall_back(phrase, str(reason))


def read_answer(answer: str, text: str, *, finished: bool) -> tuple[str, ...]:
    """Read and check the cues in a model's answer.

    Args:
        answer: What the model wrote: a JSON list, whatever stands round it, or numbered lines.
        text: The normalised expression.
        finished: Whether the model ended by itself; the last of some numbered lines may be cut where it did not.

    Raises:
        BadAnswer: If there is no list, or a cue in it breaks what the prompt demands.
    """
    items = _json_list(answer)
    if items is None:
        items = re.findall(r"^[ \t]*\d+[.)][ \t]*(.+)$", answer, re.MULTILINE) if finished else []
    if not items:
        raise BadAnswer("no cue in the answer")
    if not all(isinstance(item, str) for item in items):
        raise BadAnswer("a cue is not text")
    cues = tuple(dict.fromkeys(normalise(item) for item in items))
    if not all(cues):
        raise BadAnswer("a cue is empty")
    if len(cues) > MAX_CUES:
        raise BadAnswer(f"more than {MAX_CUES} cues")
    if any(len(cue.split()) > MAX_WORDS for cue in cues):
        raise BadAnswer(f"a cue of more than {MAX_WORDS} words")
    if any(_share_said(cue, text) < MIN_SHARE_SAID for cue in cues):
        raise BadAnswer("a cue says what the expression does not")
    return cues


def _json_list(answer: str) -> list[Any] | None:
    """The first JSON list, also as a value of an object; None where there is none, or the answer ends inside it."""
    answer = answer.rstrip()
    for start in (match.start() for match in re.finditer(r"[\[{]", answer)):
        try:
            value = json.JSONDecoder().raw_decode(answer, start)[0]
        except RecursionError:
            return None
        except json.JSONDecodeError as error:
            if error.pos >= len(answer) - 1 or error.msg.startswith("Unterminated"):
                return None  # cut: what is whole inside it is only a part of the answer
            continue  # brackets in a sentence
        values = list(value.values()) if isinstance(value, dict) else [value]
        return next((value for value in values if isinstance(value, list)), None)
    return None


def _share_said(cue: str, text: str) -> float:
    content = _content(text)
    words = _content(cue)
    return len(words & content) / len(words) if words else 1.0


def _content(text: str) -> set[str]:
    """Content words, with singular and plural as one."""
    return {word.rstrip("s") for word in text.split() if word not in FUNCTION_WORDS}


def _sha1(value: Any) -> str:
    return hashlib.sha1(json.dumps(value, ensure_ascii=False).encode(), usedforsecurity=False).hexdigest()
