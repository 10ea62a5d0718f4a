"""Phrases to token ids, and fixed word vectors."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

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


def encode(texts: Sequence[str], vocabulary: Sequence[str], length: int) -> Int[Tensor, "batch length"]:
    """Ids of each text, cut and padded to `length`; words outside the vocabulary become UNKNOWN."""
    index = {word: position for position, word in enumerate(vocabulary)}
    ids = torch.full((len(texts), length), PAD, dtype=torch.long)
    for row, text in enumerate(texts):
        words = [index.get(word, UNKNOWN) for word in text.split()[:length]]
        ids[row, : len(words)] = torch.tensor(words, dtype=torch.long)
    return ids


def word_vectors(vocabulary: Sequence[str], width: int) -> Float[Tensor, "words width"]:
    """A fixed random unit-variance vector per word, the same in every run and for every vocabulary.

    Stands where the papers use GloVe. PAD and UNKNOWN are zero, as words outside GloVe are there.
    """
    vectors = torch.zeros(len(vocabulary), width)
    for position, word in enumerate(vocabulary):
        if position > UNKNOWN:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
            vectors[position] = torch.from_numpy(np.random.default_rng(seed).standard_normal(width)).float()
    return vectors
