"""What a model that is about to be trained starts from: its vocabulary, pretrained parts, word vectors.

All of it lies in the folder of frozen models; a trained model carries it in its own checkpoint.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from deixis.core.checkpoints import load_checkpoint
from deixis.core.config import SHOWN, load_params
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import described_file, read_json
from deixis.language.text import build_vocabulary
from models.text.bert import BERTConfig
from models.text.clip_text import CLIPTextConfig
from models.text.glove import use_vectors


def read_vocabulary(text: object, weights: Path, texts: Iterable[str]) -> list[str]:
    """The words of training texts, or the pieces that were published with a text encoder.

    Args:
        text: The text encoder's configuration.
        weights: Folder of frozen models, in which an import has the name of its text encoder.
        texts: Training texts only.
    """
    if isinstance(text, CLIPTextConfig):
        return _published_pieces(weights, "clip_text")
    if isinstance(text, BERTConfig) and text.vocabulary is not None:
        return _published_pieces(weights, "bert")
    return build_vocabulary(texts)


def _published_pieces(weights: Path, name: str) -> list[str]:
    card = read_json(weights / name / "config.json", made_by=f"import_weights@{name}")
    if "vocabulary" not in card:
        raise DataError(
            f"{weights / name}/config.json: has no vocabulary, so it is no text encoder. Name a card of the role text "
            f"under imports.{name} in params.yaml, then run: dvc repro import_weights@{name}"
        )
    return card["vocabulary"]


def start_part(part: nn.Module, weights: Path, name: str) -> None:
    """Load one pretrained part, strictly, from the folder of that name.

    Raises:
        DataError: If it is missing or another architecture's.
    """
    made_by = "pretrain_backbone" if name == "backbone" else f"import_weights@{name}"
    load_checkpoint(part, weights / name, made_by=made_by)


def named_vectors(section: str, params: Path) -> str | None:
    """Name of the import whose word vectors a method starts from: `vectors` in its entry, beside `model` and `recipe`.

    None, without such a line: each word has a vector drawn from itself.

    Raises:
        ConfigError: If the entry has other settings than these three, or this one is no name.
    """
    group, name = section.split(".")
    entry = load_params(params)[group][name]
    unknown = sorted(set(entry) - {"model", "recipe", "vectors"})
    if unknown:
        raise ConfigError(
            f'{params}: {section} has no setting "{unknown[0]}". Known: model, recipe, vectors. Fix {params}, then '
            "run: dvc repro"
        )
    vectors = entry.get("vectors")
    if vectors is not None and not isinstance(vectors, str):
        raise ConfigError(
            f"{params}: {section}.vectors is {SHOWN.repr(vectors)}; expected the name of an import of word vectors. "
            f"Fix {params}, then run: dvc repro"
        )
    return vectors


def start_words(model: nn.Module, weights: Path | None, name: str) -> tuple[dict[str, Any], Path]:
    """Put imported word vectors in the word tables of `model`.

    Returns:
        For the model's card, whose vectors and how many words of the vocabulary have one; and the file that tells them
        from others.

    Raises:
        ConfigError: If the model has no word table that stays as it is.
        DataError: If there are no such vectors.
    """
    if weights is None:
        raise DataError(f"word vectors of {name}: no folder of frozen models was named. Give --weights")
    path = weights / name / "config.json"
    card = read_json(path, made_by=f"import_weights@{name}")
    if "file" not in card:
        raise DataError(
            f"{weights / name}: holds no word vectors. Name a card of the role vectors under imports.{name} in "
            f"params.yaml, then run: dvc repro import_weights@{name}"
        )
    known = use_vectors(model, described_file(weights / name, card["file"], made_by=f"import_weights@{name}"))
    return {"word_vectors": {"card": card["card"], "known": known}}, path


def start_named_words(
    model: nn.Module, section: str, *, params: Path, weights: Path | None
) -> tuple[dict[str, Any], list[Path]]:
    """Put word vectors in `model` where its entry in params.yaml names some.

    Returns:
        As `start_words`: what the card says, and the files that tell these vectors from others; both empty without.
    """
    name = named_vectors(section, params)
    if not name:
        return {}, []
    about, origin = start_words(model, weights, name)
    return about, [origin]
