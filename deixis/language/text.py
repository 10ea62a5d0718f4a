"""Phrases as models read them, and vocabularies."""

import re
import unicodedata
from collections.abc import Iterable

PAD, UNKNOWN, START = 0, 1, 2  # START is reserved by the published vocabularies and never used
SPECIAL = ("[PAD]", "[UNK]", "[CLS]")
DELETED = re.compile(r"[.,'!?\"()*#:;]")
# Marks of other scripts and languages, which may stand between words without a space: most of them do in Chinese
PARTING = str.maketrans(dict.fromkeys("，。、！？；：（）「」『』《》〈〉【】・،؛؟۔«»„‹›¿¡।॥።፣־", " "))
# Invisible, though Unicode takes them for marks and letters: joiners of graphemes, fillers, selectors of a form
INVISIBLE = dict.fromkeys(
    (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, *range(0xFE00, 0xFE10), 0xFFA0,
     *range(0xE0100, 0xE01F0))
)  # fmt: skip
TYPOGRAPHIC = str.maketrans("‘’“”‐‑‒–—―−", "''\"\"-------") | INVISIBLE
BECOMES_SPACE = re.compile(r"[-/\s]+")
ZERO_WIDTH_SPACE = "\u200b"  # parts words, unlike soft hyphens, joiners and marks of direction


def normalise(expression: str) -> str:
    """Text as models read it: NFKC, lower case, invisible characters and punctuation gone, single spaces.

    Words are what stands between spaces: a phrase in a script without them is one word, unless marks part it.

    Source of the character lists: the tokeniser shared by RefCLIP, DViN and SimREC.
    """
    text = unicodedata.normalize("NFKC", expression.translate(PARTING)).translate(TYPOGRAPHIC).lower()
    if not text.isprintable():
        text = "".join(map(_visible, text))
    return BECOMES_SPACE.sub(" ", DELETED.sub("", text)).strip()


def _visible(character: str) -> str:
    """A character itself; a space for control characters, and nothing for those that only shape their neighbours."""
    category = unicodedata.category(character)
    if category == "Cf" and character != ZERO_WIDTH_SPACE:
        return ""
    return " " if category[0] == "C" else character


def build_vocabulary(texts: Iterable[str]) -> list[str]:
    """Special tokens, then every word in alphabetical order. Give it training texts only."""
    return [*SPECIAL, *sorted({word for text in texts for word in text.split()})]
