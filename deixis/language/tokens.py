"""Phrases to token ids, and fixed word vectors."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from deixis.language.text import PAD, UNKNOWN
from deixis.language.word_pieces import encode_pieces, is_byte_pairs, is_word_pieces, spells

EMPTY_WORDS = frozenset(  # say nothing of what a thing is
    "a an the this that these those his her its their my your our of in on at to by with from and or is are".split()
)


def encode(
    texts: Sequence[str], vocabulary: Sequence[str], length: int, *, keep_end: bool = True
) -> Int[Tensor, "batch length"]:
    """Ids of each text, cut and padded to `length`; words outside the vocabulary become UNKNOWN.

    A vocabulary of pieces (deixis/language/word_pieces.py) knows every word, and has special tokens before and after
    them; `keep_end` says whether the last one stays where a text is cut.
    """
    if is_byte_pairs(vocabulary) or is_word_pieces(vocabulary):
        return encode_pieces(texts, vocabulary, length, keep_end=keep_end)
    index = {word: position for position, word in enumerate(vocabulary)}
    ids = torch.full((len(texts), length), PAD, dtype=torch.long)
    for row, text in enumerate(texts):
        words = [index.get(word, UNKNOWN) for word in text.split()[:length]]
        ids[row, : len(words)] = torch.tensor(words, dtype=torch.long)
    return ids


def cut_texts(texts: Sequence[str], vocabulary: Sequence[str], length: int) -> list[str]:
    """Those texts of which `encode` reads the beginning only."""
    longer = encode(texts, vocabulary, length + 1)[:, -1] != PAD
    return [text for text, is_cut in zip(texts, longer.tolist(), strict=True) if is_cut]


def knows_texts(texts: Sequence[str], vocabulary: Sequence[str]) -> list[bool]:
    """Whether a model with this vocabulary knows a word of each text that says something by itself.

    CLIP's pieces spell every word, and BERT's all those in whose script it has letters.
    """
    if is_byte_pairs(vocabulary):
        return [True] * len(texts)
    if is_word_pieces(vocabulary):
        return spells(texts, vocabulary)
    known = set(vocabulary) - EMPTY_WORDS
    return [any(word in known for word in text.split()) or not set(text.split()) - EMPTY_WORDS for text in texts]


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
