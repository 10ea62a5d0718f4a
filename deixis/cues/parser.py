"""Cues from a dependency parse: the noun, its phrase, and what hangs on it."""

from collections.abc import Sequence
from typing import Any

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.cues.answers import Answer, Phrase, first_distinct, import_extra
from deixis.cues.rule import fall_back
from deixis.cues.word_classes import COPULAS, DETERMINERS, RELATIVISERS

OWN_CUE = ("acl", "relcl", "prep", "advmod", "amod", "appos")  # labels of what, right of the noun, says one thing
SUBJECTS = ("nsubj", "nsubjpass")


@dataclass(frozen=True, config=STRICT)
class ParserConfig:
    """Settings of `spacy`."""

    model: str = "en_core_web_sm"  # an installed English pipeline with a parser, or a folder of one


class ParserCues:
    """Asks a spaCy pipeline.

    Raises:
        ConfigError: If spaCy or the pipeline is missing, or the pipeline has no parser.
    """

    Config = ParserConfig

    def __init__(self, config: ParserConfig) -> None:
        allowed = "Allowed: an installed English pipeline with a parser, or a folder of one"
        remedy = "Run: uv pip install pip && uv run python -m spacy download en_core_web_sm"
        try:
            self._parse = import_extra("spacy").load(config.model)
        except OSError:
            raise ConfigError(f'cues.settings.model is "{config.model}": not found. {allowed}. {remedy}') from None
        if not self._parse.has_pipe("parser"):
            parts = ", ".join(self._parse.pipe_names) or "nothing"
            raise ConfigError(f'cues.settings.model is "{config.model}", which has {parts}. {allowed}. {remedy}')
        meta = self._parse.meta
        self._source = f"spacy:{meta['lang']}_{meta['name']}@{meta['version']}"
        self.inputs = (self._source,)

    def answer(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """Parse every phrase."""
        return [self._ask(phrase) for phrase in phrases]

    def _ask(self, phrase: Phrase) -> Answer:
        try:
            cues = parsed_cues(self._parse(phrase.text))
        except Exception as error:  # whatever a model can do wrong must not end the run
            return fall_back(phrase, type(error).__name__)
        return Answer(cues, self._source) if cues else fall_back(phrase, "no noun phrase is root or subject")


def parsed_cues(parse: Any) -> tuple[str, ...]:
    """Cues of a parsed expression (a spaCy `Doc`), coarse to fine; empty where no noun heads it.

    The target is the first noun chunk that is the root or its subject. Its noun comes first, then the chunk without
    determiner, then the noun with each thing that hangs on it, and with what is said of it as a subject.
    """
    chunk = next((candidate for candidate in parse.noun_chunks if candidate.root.dep_ in ("ROOT", *SUBJECTS)), None)
    if chunk is None:
        return ()
    noun = chunk.root
    parts = [part for child in noun.rights if child.dep_ in OWN_CUE and child.i >= chunk.end for part in _parts(child)]
    if noun.dep_ in SUBJECTS:
        parts += _parts(noun.head, without=noun)
    segments = [words for part in parts if (words := _trim(part))]
    whole = _words([word for word in chunk if word.text.lower() not in DETERMINERS])
    return first_distinct([_words([noun]), whole, *(_words([noun, *segment]) for segment in segments)])


def _parts(token: Any, *, without: Any = None) -> list[list[Any]]:
    """Words of a subtree, and apart from them those of each verb that "and" joins to its top."""
    joined = [child for child in token.rights if child.dep_ == "conj" and child.pos_ in ("VERB", "AUX")]
    apart = {word.i for child in [*joined, *([without] if without is not None else [])] for word in child.subtree}
    words = [word for word in token.subtree if word.i not in apart]
    return [words, *(part for child in joined for part in _parts(child))]


def _trim(words: list[Any]) -> list[Any]:
    """Without what opens or ends a segment and says nothing: relativisers, copulas, "and", punctuation."""
    idle = RELATIVISERS | COPULAS | {"and", ","}
    while words and words[0].text.lower() in idle:
        words = words[1:]
    while words and words[-1].text.lower() in ("and", ","):
        words = words[:-1]
    return words


def _words(tokens: list[Any]) -> str:
    return " ".join(token.text.lower() for token in tokens)
