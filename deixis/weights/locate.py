"""Where published weights lie, and whether they are what their cards say.

They lie in `$DEIXIS_WEIGHTS`, or `data/published`, under the names of their cards. Beside them, `pins.yaml` holds the
checksums that the user has vouched for, of files whose publisher gives none.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML

from deixis.core.config import load_params
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import file_sha256, write_atomically
from deixis.weights.cards import CARDS, Card, Sha256, WeightFile, find_card

FOLDER = Path("data/published")
PINS = "pins.yaml"

State = Literal["found", "unpinned", "wrong checksum", "missing"]
STATES: tuple[State, ...] = ("found", "unpinned", "wrong checksum", "missing")  # from good to bad


def weights_folder() -> Path:
    """The folder of published weights, which need not be there.

    Raises:
        ConfigError: If DEIXIS_WEIGHTS names something else than a folder.
    """
    folder = Path(os.environ.get("DEIXIS_WEIGHTS") or FOLDER)
    try:
        problem = "" if stat.S_ISDIR(folder.stat().st_mode) else "a file"
    except FileNotFoundError:
        problem = ""
    except OSError as error:  # as a name that is too long, or below a file
        problem = (error.strerror or "it cannot be reached").lower()
    if problem:
        raise ConfigError(f"DEIXIS_WEIGHTS is {folder}: {problem}. Allowed: a folder. Name another, or unset it")
    return folder


def resolve_weights(name: str, *, folder: Path | None = None, cards: Path = CARDS) -> Path:
    """Path of a published model's weights, after every file of its card was checked: all loaders ask here.

    Files beside the weights (a vocabulary) lie in the same folder.

    Raises:
        ConfigError: If there is no card of that name.
        DataError: If a file is missing, has another checksum than published or pinned, or has neither.
    """
    card = find_card(name, cards)
    folder = folder or weights_folder()
    for file in card.files:
        refuse_unless_found(card, file, folder)
    return folder / card.files[0].name


def card_state(card: Card, folder: Path) -> State:
    """The worst state of a card's files; reads them whole."""
    pins = read_pins(folder)
    states = {file_state(file, folder, pins) for file in card.files}
    return next(state for state in reversed(STATES) if state in states)


def file_state(file: WeightFile, folder: Path, pins: Mapping[str, str]) -> State:
    """Whether a file is there and is the published one, or the pinned one where no checksum is published."""
    path = folder / file.name
    if not path.is_file():
        return "missing"
    sha256 = file_sha256(path)
    known = file.sha256 or pins.get(file.name)
    if (known and sha256 != known) or not sha256.startswith(file.sha256_prefix or ""):
        return "wrong checksum"
    return "found" if known else "unpinned"


def refuse_unless_found(card: Card, file: WeightFile, folder: Path) -> None:
    """Stop on a file that must not be loaded.

    Raises:
        DataError: Says what was found and what fixes it.
    """
    path, pins = folder / file.name, read_pins(folder)
    state = file_state(file, folder, pins)
    if state == "missing":
        raise DataError(f"{path}: missing. {how_to_get(card, folder)}")
    if state == "wrong checksum":
        known = file.sha256 or pins.get(file.name) or f"{file.sha256_prefix}..."
        whose = "published" if file.sha256 or file.name not in pins else f"pinned in {folder / PINS}"
        raise DataError(
            f"{path}: its SHA-256 is {file_sha256(path)}, but {known} is {whose}. It is cut short or another file. "
            f"Delete it, then run: deixis weights fetch {card.name}"
        )
    if state == "unpinned":
        raise DataError(
            f"{path}: nobody vouches for its checksum: {card.source} publishes none. Only files that are known are "
            f"loaded. If you trust where it came from, run: deixis weights verify {card.name} --pin"
        )


def fetchable(card: Card, file: WeightFile) -> bool:
    """Whether a program can download it."""
    return bool(file.url or file.archive or card.hub)


def how_to_get(card: Card, folder: Path) -> str:
    """Which command brings a card's missing files, or which files to put where."""
    if not all(fetchable(card, file) for file in card.files):
        return by_hand(card, folder)
    return f"With a network, run: deixis weights fetch {card.name}. Without one, {by_hand(card, folder)}"


def by_hand(card: Card, folder: Path) -> str:
    """Which files to bring from another machine, and where they belong."""
    missing = [file for file in card.files if not (folder / file.name).exists()]
    steps = [f"{_origin(card, file)} and put it at {folder / file.name}" for file in missing]
    return "; ".join([*steps, f"then run: deixis weights verify {card.name}"])


def _origin(card: Card, file: WeightFile) -> str:
    name = Path(file.name).name
    if file.archive:
        return f"download {file.archive.url}, unpack {name} from it"
    if file.url:
        return f"download {file.url}"
    if card.hub:
        revision = f" at revision {card.revision}" if card.revision else ""
        return f"download {name} of the hub's model {card.hub}{revision}"
    return f"download {name} as {card.source} describes"


def read_pins(folder: Path) -> dict[str, str]:
    """Checksums that the user vouched for, by file name.

    Raises:
        ConfigError: If the file is not a mapping of file names to SHA-256.
    """
    path = folder / PINS
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, Sha256]).validate_python(load_params(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(
            f"{path}: {where} is {problem['input']!r}; expected a SHA-256, 64 digits from 0 to f. Delete the line, "
            "then pin the file again: deixis weights verify NAME --pin"
        ) from None


def pin(card: Card, folder: Path) -> dict[str, str]:
    """Vouch for the files of a card as they lie there, where their publisher gives no checksum; returns the new pins.

    Raises:
        DataError: If a file is missing or is not what its publisher says; that is never pinned.
    """
    pins, new = read_pins(folder), {}
    for file in card.files:
        published_only = {name: digest for name, digest in pins.items() if name != file.name}
        state = file_state(file, folder, published_only)
        if state in ("missing", "wrong checksum"):
            refuse_unless_found(card, file, folder)
        if state == "unpinned":
            new[file.name] = file_sha256(folder / file.name)
    write_pins(pins | new, folder)
    return new


def write_pins(pins: Mapping[str, str], folder: Path) -> None:
    """Replace the pins."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8") as stream:
            yaml.dump(dict(sorted(pins.items())), stream)

    write_atomically(folder / PINS, write)
