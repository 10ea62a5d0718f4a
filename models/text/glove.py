"""GloVe (Pennington et al. 2014), or vectors of any other origin in its text format, for frozen word tables."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deixis.core.errors import ConfigError, DataError
from deixis.language.text import SPECIAL
from models.text.gru_attention import GRUAttentionEncoder
from models.text.last_states import LastStatesEncoder

HAVE_FIXED_WORDS = (GRUAttentionEncoder, LastStatesEncoder)


def read_vectors(path: Path, vocabulary: Sequence[str], width: int) -> Float[Tensor, "words width"]:
    """Vectors of the words of a vocabulary; special tokens and words that the file lacks are zero, as published.

    The file is read once, line by line: a word, then its numbers, with single spaces. Only the numbers of wanted words
    are looked at. A first line of two whole numbers, as fastText writes, is passed over.

    Raises:
        DataError: If the file is missing or not text, has another width, a number that is none, or no word at all of
            the vocabulary.
    """
    rows = {word.encode(): row for row, word in enumerate(vocabulary) if row >= len(SPECIAL)}
    vectors = torch.zeros(len(vocabulary), width)
    known = set()
    for position, (number, line) in enumerate(_lines(path)):
        word = line[: max(0, line.find(b" "))]
        if position == 0:
            _check_width(path, number, line, width)
        if word in rows and word not in known:
            parts = line.rsplit(b" ", width)
            if len(parts) == width + 1 and parts[0] != word and b" " in parts[0]:
                continue  # an entry of several words, such as ". . ." of the 840B file
            vectors[rows[word]] = torch.tensor(_numbers(path, number, parts[1:], width))
            known.add(word)
    if not known:
        raise DataError(
            f"{path}: has none of the {len(rows)} words of the vocabulary. Allowed: lower-case words, one per line. "
            "Name another file of vectors"
        )
    return vectors


def use_vectors(model: nn.Module, path: Path) -> int:
    """Put vectors of a file in the word tables of a model that is about to be trained; its checkpoint keeps them.

    Returns:
        How many words of the vocabulary the file has.

    Raises:
        ConfigError: If the model has no frozen word table.
        DataError: As `read_vectors`.
    """
    encoders = [module for module in model.modules() if isinstance(module, HAVE_FIXED_WORDS)]
    if not encoders:
        raise ConfigError(
            f"{type(model).__name__} has no frozen word table for {path}. Allowed: models whose words are fixed. "
            "Name no file of vectors for it in params.yaml"
        )
    known = 0
    for encoder in encoders:
        table = read_vectors(path, encoder.vocabulary, encoder.config.word_width)
        encoder.embedding.weight.data.copy_(table)
        known = int(table.any(1).sum())
    return known


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, but for a head line."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                line = line.rstrip()
                is_head = number == 1 and len(line.split()) == 2 and all(part.isdigit() for part in line.split())
                if not is_head:
                    yield number, line
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Put the file of word vectors there, or name its place") from None


def _check_width(path: Path, number: int, line: bytes, width: int) -> None:
    has = line.count(b" ")
    if has != width:
        raise DataError(
            f"{path}: line {number} has {has} numbers, the word table is {width} wide. Allowed: a word and as many "
            f"numbers, with single spaces. Set text.word_width to {has}, or name a file of {width}-wide vectors"
        )


def _numbers(path: Path, line: int, parts: list[bytes], width: int) -> list[float]:
    if len(parts) != width:
        raise DataError(f"{path}: line {line} has {len(parts)} numbers, expected {width}. Fetch the file again")
    try:
        numbers = [float(part) for part in parts]
    except ValueError as error:
        raise DataError(f"{path}: line {line}: {error}. Allowed: numbers. Fetch the file again") from None
    if not all(map(math.isfinite, numbers)):
        raise DataError(f"{path}: line {line} has a number that is not finite. Fetch the file again")
    return numbers
