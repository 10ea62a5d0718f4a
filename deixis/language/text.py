"""Phrases as models read them, and vocabularies."""

import re
import unicodedata
from collections.abc import Iterable

PAD, UNKNOWN, START = 0, 1, 2  # START is reserved by the published vocabularies and never used
SPECIAL = ("[PAD]", "[UNK]", "[CLS]")
DELETED = re.compile(r"[.,'!?\"()*#:;]")
TYPOGRAPHIC = str.maketrans("‘’“”–—", "''\"\"--")
BECOMES_SPACE = re.compile(r"[-/\s]+")


def normalise(expression: str) -> str:
    """Text as models read it: NFKC, lower case, control characters and punctuation gone, single spaces.

    Source of the character lists: the tokeniser shared by RefCLIP, DViN and SimREC.
    """
    text = unicodedata.normalize("NFKC", expression).translate(TYPOGRAPHIC).lower()
    text = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in text)
    return BECOMES_SPACE.sub(" ", DELETED.sub("", text)).strip()


def build_vocabulary(texts: Iterable[str]) -> list[str]:
    """Special tokens, then every word in alphabetical order. Give it training texts only."""
    return [*SPECIAL, *sorted({word for text in texts for word in text.split()})]
