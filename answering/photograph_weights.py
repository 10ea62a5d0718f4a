"""Published weights that the model for photographs stands on. Quick to import: whoever asks need not load torch."""

from deixis.weights.cards import find_card
from deixis.weights.locate import weights_folder

CARDS = {"detector": "yolox-nano", "bert": "all-minilm-l6-v2"}  # of models/cards, by folder of frozen weights
# Any of these draws its masks; the quickest first
SEGMENTER_CARDS = ("mobile-sam", "efficient-sam-ti", "efficient-sam-s", "sam-vit-b", "sam-vit-l", "sam-vit-h")


def weights_in_place() -> bool:
    """Whether every published file is there; their checksums are compared when they are read."""
    return all(map(_is_in_place, CARDS.values()))


def segmenter_in_place() -> str | None:
    """Card of the quickest published segmenter whose file is there."""
    return next(filter(_is_in_place, SEGMENTER_CARDS), None)


def _is_in_place(card: str) -> bool:
    return all((weights_folder() / file.name).is_file() for file in find_card(card).files)
