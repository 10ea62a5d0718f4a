"""Vocabularies of pieces, and phrases in their ids.

A vocabulary is a list of strings that travels in a model's card. Three kinds are told apart by what they hold: words
(deixis/language/text.py), the lines of BERT's `vocab.txt`, and the lines of CLIP's `merges.txt`, the first of which
gives a version.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from torch import Tensor

from deixis.core.errors import DataError
from deixis.language.text import PAD

WORD_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # a vocabulary of WordPieces has them all, one of words no [SEP]
BYTE_PAIRS = "#version"
START, END = "<|startoftext|>", "<|endoftext|>"


def is_word_pieces(vocabulary: Sequence[str]) -> bool:
    """Whether phrases are read as BERT reads them: [CLS] pieces [SEP]."""
    return "[SEP]" in vocabulary


def is_byte_pairs(vocabulary: Sequence[str]) -> bool:
    """Whether phrases are read as CLIP reads them: start, pieces, end."""
    return bool(vocabulary) and vocabulary[0].startswith(BYTE_PAIRS)


def split_vocabulary(vocabulary: Sequence[str]) -> tuple[list[str], list[str]]:
    """One vocabulary, and after it the byte pairs of a second text encoder: none for most models."""
    lines = list(vocabulary)
    start = next((number for number, line in enumerate(lines) if line.startswith(BYTE_PAIRS)), len(lines))
    return lines[:start], lines[start:]


def read_word_pieces(path: Path) -> list[str]:
    """Lines of BERT's `vocab.txt`, or of the one in a model folder.

    Raises:
        DataError: If it lacks a special token, or padding is not its first line.
    """
    lines = _read_lines(path / "vocab.txt" if path.is_dir() else path)
    missing = [token for token in WORD_PIECES if token not in lines]
    if missing or lines[PAD] != WORD_PIECES[0]:
        raise DataError(
            f"{path}: not BERT's vocab.txt: {', '.join(missing) or '[PAD] on the first line'} is missing. "
            "Put the published file there"
        )
    return lines


def read_byte_pairs(path: Path) -> list[str]:
    """Lines of CLIP's `merges.txt`, or of the one in a model folder; the first one says its version.

    Raises:
        DataError: If a line is not two pieces.
    """
    lines = _read_lines(path / "merges.txt" if path.is_dir() else path)
    if not is_byte_pairs(lines):
        raise DataError(
            f"{path}: not CLIP's merges.txt: no {BYTE_PAIRS} on the first line. Put the published one there"
        )
    for number, line in enumerate(lines[1:], start=2):
        if len(line.split(" ")) != 2:
            raise DataError(f"{path}: line {number} is {line!r}, expected two pieces. Put the published file there")
    return lines


def encode_pieces(
    texts: Sequence[str], vocabulary: Sequence[str], length: int, *, keep_end: bool = True
) -> Int[Tensor, "batch length"]:
    """Ids of each text between its first and last special token, cut and padded with 0.

    Args:
        keep_end: Whether a text that is too long keeps its last token. TRIS's release cuts that of CLIP off, and then
            takes the state of the first one, which has read nothing, for the phrase.
    """
    tokenizer = _tokenizer(tuple(vocabulary))
    ids = torch.full((len(texts), length), PAD, dtype=torch.long)
    for row, text in enumerate(texts):
        pieces = tokenizer(text)
        if len(pieces) > length:
            pieces = [*pieces[: length - 1], pieces[-1]] if keep_end else pieces[:length]
        ids[row, : len(pieces)] = torch.tensor(pieces, dtype=torch.long)
    return ids


def spells(texts: Sequence[str], vocabulary: Sequence[str]) -> list[bool]:
    """Whether BERT's pieces spell a word of each text: all that they cannot spell is one and the same [UNK]."""
    special = {vocabulary.index(token) for token in WORD_PIECES}
    tokenizer = _tokenizer(tuple(vocabulary))
    return [bool(set(tokenizer(text)) - special) for text in texts]


def byte_pair_ids(merges: Sequence[str]) -> dict[str, int]:
    """CLIP's vocabulary from its merges: bytes, bytes that end a word, merged pieces in their order, start and end."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that stand for themselves
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    pieces += ["".join(line.split(" ")) for line in merges[1:]]
    return {piece: number for number, piece in enumerate([*pieces, START, END])}


@lru_cache(maxsize=4)
def _tokenizer(vocabulary: tuple[str, ...]) -> Callable[[str], list[int]]:
    """Text to ids, special tokens included."""
    if is_byte_pairs(vocabulary):
        from transformers import CLIPTokenizer  # seconds, which models that read words or word pieces need not pay

        merges: Any = [tuple(line.split(" ")) for line in vocabulary[1:]]  # described as strings, taken as pairs
        tokenizer = CLIPTokenizer(vocab=byte_pair_ids(vocabulary), merges=merges)
        return lambda text: tokenizer(text)["input_ids"]
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    pieces = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    pieces.normalizer, pieces.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    pieces.post_processor = BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return lambda text: pieces.encode(text).ids


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Put the published file there") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}). Put the published file there") from None
