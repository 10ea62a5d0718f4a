"""The cards of published models, `models/cards/*.yaml`: source, licence, files and checksums, training sets.

A card says what the publisher and the papers say, with nothing measured here. `null` means: not published.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import StringConstraints
from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT, read_section
from deixis.core.errors import ConfigError

CARDS = Path(__file__).resolve().parents[2] / "models" / "cards"

Role = Literal["detector", "expert", "text", "vectors", "segmenter", "backbone"]
Labels = Literal["none", "caption", "box", "mask"]
# Every part starts with a letter or a digit, so that no name leaves the folder of weights; the brace is a variant's.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.{}-]*(/[A-Za-z0-9][\w.{}-]*)*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=STRICT)
class Archive:
    """A zip file that a weight file is published in."""

    url: str
    sha256: Sha256 | None


@dataclass(frozen=True, config=STRICT)
class WeightFile:
    """One published file."""

    name: FileName  # where it lies, below the folder of published weights
    sha256: Sha256 | None
    sha256_prefix: str | None = None  # all that is published of some: too short to trust, long enough to refuse
    url: str | None = None  # its own address; without one it comes from the card's hub, or by hand from its page
    archive: Archive | None = None  # instead of a URL of its own


@dataclass(frozen=True, config=STRICT)
class TrainedOn:
    """One training set."""

    data: str  # what the publisher calls it
    labels: Labels  # what was learned from it
    images: str  # images it certainly had, as deixis/weights/exposure.py names sets; no_images; unknown


@dataclass(frozen=True, config=STRICT)
class Preprocessing:
    """From an image to what the network reads."""

    input_size: int  # pixels; the longer side, or both
    fit: Literal["letterbox", "stretch", "longest_side"]  # grey bars round it; neither; black bars right and below
    mean: tuple[float, float, float]  # of red, green, blue, in [0, 1]
    std: tuple[float, float, float]
    channels: Literal["rgb", "bgr"]
    grid: int | None  # cells per side of the coarsest map that is used, where it is a square


@dataclass(frozen=True, config=STRICT)
class Card:
    """One published model."""

    name: str
    role: Role
    kind: str  # name of the class that reads it, in the role's registry in models/
    source: str  # hub:<owner>/<model>, or the address of the project's page
    licence: str  # of the weights; "none stated" where their publisher says nothing
    files: tuple[WeightFile, ...]  # the weights first
    trained_on: tuple[TrainedOn, ...]
    revision: str | None = None  # of the source: commit or release
    preprocessing: Preprocessing | None = None  # null for text
    categories: tuple[str, ...] = ()  # of a detector, in the order of its outputs
    domain: str = ""  # what its training images show, where its answers are to be judged by that: photographs
    notes: str = ""
    variants: tuple[str, ...] = ()  # of a family: each stands for {variant} in the name and in the files

    @property
    def hub(self) -> str | None:
        """Owner and model, for a source on a model hub."""
        return self.source.removeprefix("hub:") if self.source.startswith("hub:") else None


def read_cards(folder: Path = CARDS) -> dict[str, Card]:
    """All cards by name, families told apart into their members.

    Raises:
        ConfigError: If a card has an unknown or wrong field, or a name is taken twice.
    """
    cards: dict[str, Card] = {}
    for path in sorted(folder.glob("*.yaml")):
        for card in _members(read_section(path, "card", Card)):
            if not (card.files and card.trained_on):
                raise ConfigError(f"{path}: names no file or no training set. Name at least one of each.")
            if card.name in cards:
                raise ConfigError(f'{path}: the name "{card.name}" is taken. Names are unique; choose another.')
            cards[card.name] = card
    return cards


def find_card(name: str, folder: Path = CARDS) -> Card:
    """The card of that name.

    Raises:
        ConfigError: If there is none; lists those that there are.
    """
    cards = read_cards(folder)
    if name not in cards:
        raise ConfigError(
            f'there is no card "{name}". Known: {", ".join(sorted(cards))}. '
            f"Name one of them, or describe your weights in {folder}/{name}.yaml."
        )
    return cards[name]


def _members(family: Card) -> Iterator[Card]:
    """The card itself, or one for each variant."""
    if not family.variants:
        yield family
    for variant in family.variants:
        files = tuple(_member_file(file, variant) for file in family.files)
        yield replace(family, name=family.name.replace("{variant}", variant), files=files, variants=())


def _member_file(file: WeightFile, variant: str) -> WeightFile:
    url = file.url.replace("{variant}", variant) if file.url else None
    return replace(file, name=file.name.replace("{variant}", variant), url=url)
