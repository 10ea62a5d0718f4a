"""The token lists of released models: which word has which number in their word tables.

The releases publish none. Their code numbers the words of an annotation file as they come, over all its splits, the
test splits included, after three special tokens. Source: RefCLIP, `datasets/dataloader.py`; SimREC, DViN and WeakMCN
have the same.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deixis.core.errors import DataError
from deixis.language.text import SPECIAL

DELETED = re.compile(r"[.,'!?\"()*#:;]")
ALLOWED = (
    "Allowed: the annotation file that the model was trained on (anns/<set>.json: a list of annotations with `refs` "
    "per split), a JSON object of tokens with their numbers, or a text file or JSON list of tokens in their order"
)


def read_token_list(path: Path) -> list[str]:
    """Tokens in the order of their numbers, special ones first, under our names for those.

    Raises:
        DataError: If the file is missing, or is none of what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"{path}: cannot be read: {reason}. {ALLOWED}") from None
    if text.startswith(SPECIAL[0]) or text.lstrip()[:1] not in ("{", "["):
        return _with_special(text.split("\n")[: -1 if text.endswith("\n") else None], path)
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not whole JSON ({error}). {ALLOWED}") from None
    if isinstance(content, list) or not content:
        return _with_special(list(content), path)
    if all(isinstance(number, int) for number in content.values()):
        ordered = sorted(content, key=content.__getitem__)
        if [content[token] for token in ordered] != list(range(len(ordered))):
            raise DataError(f"{path}: its numbers are not 0, 1, 2 and so on, each once. {ALLOWED}")
        return _with_special(ordered, path)
    return number_words(_phrases(content, path))


def number_words(phrases: Iterator[str]) -> list[str]:
    """Special tokens, then each word where it first appears, cut into words as the releases do."""
    words: dict[str, None] = {}
    for phrase in phrases:
        cut = DELETED.sub("", phrase.lower()).replace("-", " ").replace("/", " ").split()
        words.update(dict.fromkeys(cut))
    return [*SPECIAL, *words]


def _phrases(splits: dict[str, Any], path: Path) -> Iterator[str]:
    for split, rows in splits.items():
        for row in rows if isinstance(rows, list) else [None]:
            refs = row.get("refs") if isinstance(row, dict) else None
            if not isinstance(refs, list) or not all(isinstance(phrase, str) for phrase in refs):
                raise DataError(f"{path}: {split} holds no list of annotations with `refs`. {ALLOWED}")
            yield from refs


def _with_special(tokens: list[Any], path: Path) -> list[str]:
    """The list itself, its three special tokens under our names."""
    if not all(isinstance(token, str) for token in tokens) or len(set(tokens)) != len(tokens):
        raise DataError(f"{path}: a token stands there twice, or is no text. {ALLOWED}")
    first = tuple(f"[{token.strip('[]').upper()}]" for token in tokens[: len(SPECIAL)])
    if first != SPECIAL:
        raise DataError(f"{path}: begins with {', '.join(tokens[:3])}; expected PAD, UNK, CLS. {ALLOWED}")
    return [*SPECIAL, *tokens[len(SPECIAL) :]]
