"""Published weights that the model for photographs stands on. Quick to import: whoever asks need not load torch."""

from deixis.weights.cards import find_card
from deixis.weights.locate import weights_folder

CARDS = {"detector": "yolox-nano", "bert": "all-minilm-l6-v2"}  # of models/cards, by folder of frozen weights


def weights_in_place() -> bool:
    """Whether every published file is there; their checksums are compared when they are read."""
    return all((weights_folder() / file.name).is_file() for card in CARDS.values() for file in find_card(card).files)
