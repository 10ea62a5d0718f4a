"""`deixis weights`: which published weights are known, where they belong, and whether those that lie there are real."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from deixis.core.errors import ConfigError, DataError
from deixis.core.progress import track
from deixis.weights.cards import Card, WeightFile, find_card, read_cards
from deixis.weights.fetch import fetch as fetch_files
from deixis.weights.locate import (
    PINS,
    card_state,
    how_to_get,
    refuse_unless_found,
    weights_folder,
)
from deixis.weights.locate import (
    pin as pin_files,
)

PLAIN_WIDTH = 200  # columns, where the output is no terminal

app = App(
    name="weights",
    help="List published weights, say where they belong, check them, fetch them. "
    "They lie in $DEIXIS_WEIGHTS, or data/published.",
)


@app.command(name="list")
def list_weights() -> None:
    """List every known model and the state of its files.

    found: there, with the published or the pinned checksum. unpinned: there, but nobody vouches for its checksum yet.
    wrong checksum: another file, or cut short. missing: not there.
    """
    folder = weights_folder()
    table = Table(title=f"published weights in {folder}", title_justify="left")
    for column in ("name", "role", "kind", "licence", "state", "file"):
        table.add_column(column, overflow="fold")
    cards = read_cards()
    for card in track(cards.values(), "reading weights", total=len(cards)):
        files = "\n".join(file.name for file in card.files)
        table.add_row(card.name, card.role, card.kind, card.licence, card_state(card, folder), files)
    _console().print(table)


@app.command
def where(name: str, /) -> None:
    """Say where a model's files belong, where they come from, and what the model has seen.

    Parameters
    ----------
    name
        A name of `deixis weights list`.
    """
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for fact, value in _facts(find_card(name), weights_folder()).items():
        table.add_row(fact, value)
    _console().print(table)


def _facts(card: Card, folder: Path) -> dict[str, str]:
    """What a card says, by what it is about."""
    state = card_state(card, folder)
    facts = {
        "files": "\n".join(str((folder / file.name).absolute()) for file in card.files),
        "state": state,
        "sha256": "\n".join(_checksum(file) for file in card.files),
        "source": card.source + (f" at {card.revision}" if card.revision else ""),
        "licence": card.licence,
        "trained on": "\n".join(f"{entry.data} (labels: {entry.labels})" for entry in card.trained_on),
        "input": _input(card),
        "notes": card.notes,
    }
    if state == "missing":
        facts["to get it"] = how_to_get(card, folder)
    return facts


@app.command
def verify(*names: str, pin: bool = False) -> None:
    """Compare files with the published checksums, or with those that you have pinned.

    Parameters
    ----------
    names
        Names of `deixis weights list`; without any, all whose files are there.
    pin
        Vouch for files whose publisher gives no checksum: write theirs, as they lie there, to pins.yaml.
    """
    folder = weights_folder()
    cards = [find_card(name) for name in names] or _present(list(read_cards().values()))
    if not cards:
        raise DataError(f"{folder}: holds no published weights. See what there is: deixis weights list")
    for card in cards:
        if pin:
            for file, digest in pin_files(card, folder).items():
                print(f"{card.name}: pinned {file} as {digest} in {folder / PINS}")
        for file in card.files:
            refuse_unless_found(card, file, folder)
        print(f"{card.name}: found")


@app.command
def fetch(*names: str) -> None:
    """Download a model's files and check them.

    Without a network it says which file to bring from elsewhere, and where to put it.

    Parameters
    ----------
    names
        Names of `deixis weights list`.
    """
    folder = weights_folder()
    if not names:
        raise ConfigError("no model named. See what there is: deixis weights list")
    for card in map(find_card, names):
        for path in fetch_files(card, folder):
            print(f"{card.name}: fetched {path}")
        for file in card.files:
            refuse_unless_found(card, file, folder)
        print(f"{card.name}: found")


@app.command(name="import-model")
def import_model(
    release: str,
    file: Path,
    out: Path,
    /,
    *,
    tokens: Path,
    weights: Path | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative_iterable="")] = (),
) -> None:
    """Turn a trained model that its authors released into a checkpoint as those trained here are.

    Prints what became of the file's tensors. docs/released-checkpoints.md says what each release needs.

    Parameters
    ----------
    release
        Whose: refclip, for instance; an unknown name lists the others.
    file
        The released checkpoint.
    out
        Folder for the checkpoint, such as data/teachers/refcoco_unc/refclip; frozen models go to weights in it.
    tokens
        The annotation file of the set that it was trained on, or its token list.
    weights
        Folder of frozen models, from which those are linked that the file does not carry.
    settings
        name=value of its settings that no tensor tells, such as text.length=20.
    """
    from models.releases.importing import import_release  # torch takes seconds, which no other command here needs

    report = import_release(release, file, out, tokens=tokens, weights=weights, settings=settings)
    print(f"{out}: {report.read} tensors of {file}")
    if report.unread:
        print(f"  {len(report.unread)} tensors that nothing reads, left out: {', '.join(report.unread)}")
    for name, folder in report.carried.items():
        print(f"  the file's {name}: {folder}")
    if report.linked:
        print(f"  linked from {weights}: {', '.join(report.linked)}")
    if report.lacking:
        print(f"  still lacking: {', '.join(report.lacking)}. Put them in {out / 'weights'}, or import with --weights")


def _present(cards: list[Card]) -> list[Card]:
    folder = weights_folder()
    return [card for card in cards if any((folder / file.name).is_file() for file in card.files)]


def _checksum(file: WeightFile) -> str:
    return file.sha256 or (f"{file.sha256_prefix}..." if file.sha256_prefix else "not published")


def _input(card: Card) -> str:
    prep = card.preprocessing
    if prep is None:
        return "text"
    grid = f", {prep.grid} x {prep.grid} cells" if prep.grid else ""
    return f"{prep.input_size} pixels, {prep.fit}, {prep.channels}, mean {prep.mean}, std {prep.std}{grid}"


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
