"""`deixis serve`: a page to try phrases on, and to go through labels."""

import getpass
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from cyclopts import Parameter

from answering.cards import DEFAULT_MODEL, read_card
from answering.photograph_weights import weights_in_place
from deixis.core.errors import ConfigError, DataError
from deixis.core.progress import say
from deixis.exports.reading import read_images
from reviewing.page.access import Access
from reviewing.page.app import Parts, build_app, version_of
from reviewing.page.desk import Desk
from reviewing.page.labels import Labels
from reviewing.page.model import Model
from reviewing.page.pictures import Pictures
from reviewing.page.places import Places, places_of
from reviewing.page.saving import SavedLog
from reviewing.page.server import ADDRESS, listen, run

PORT = 8765
LONGEST_NAME = 100  # characters


def serve(
    labels: Path | None = None,
    /,
    *,
    images: Path | None = None,
    image_root: Path | None = None,
    model: Path | None = None,
    weights: Path | None = None,
    decisions: Path | None = None,
    who: str | None = None,
    port: int = PORT,
    show: Annotated[bool, Parameter(name="--open")] = False,
    max_upload: int = 50,
    device: Annotated[Literal["auto", "cpu", "cuda"], Parameter(help="auto takes a GPU where there is one.")] = "auto",
) -> None:
    """Serve a page on this machine: try phrases, and go through labels to accept, reject or correct them.

    Prints an address with a token; nobody gets in without it. Every decision is on the disk before the page goes on.

    Args:
        labels: labels.parquet, or its folder; without it phrases can be tried and nothing is reviewed.
        images: images.parquet of the same images; by default where the graph or `deixis label` put it.
        image_root: The folder that its paths start from; looked for in the usual places.
        model: Folder of a trained teacher or student to try; by default the one that gave the labels, else the one
            that `deixis predict` takes.
        weights: Folder of the frozen models; by default those of the model's own data folder.
        decisions: The log of decisions; by default data/decisions/<dataset>/log.sqlite for labels of the graph, else
            decisions/log.sqlite beside the labels. decisions.parquet beside it is written after each pause.
        who: Who decides; by default the name of the account.
        port: 0 takes a free one.
        show: Also open the address in a browser.
        max_upload: Megabytes of an uploaded image.
    """
    if max_upload < 1:
        raise ConfigError(f"--max-upload is {max_upload}. Allowed: 1 or more megabytes")
    places = None if labels is None else places_of(labels, images=images, image_root=image_root, log=decisions)
    chosen = choose_model(model, places)
    if places is None and chosen is None:
        raise DataError(
            "nothing to serve: no labels were named, and no model answers here yet. Name labels.parquet, or a trained "
            f"model: --model; to get one, run: dvc repro, or deixis weights fetch (for {DEFAULT_MODEL} or photographs)"
        )
    with ExitStack() as stack:
        opened = stack.enter_context(listen(port))
        port = opened.getsockname()[1]
        access = Access(port)
        parts = Parts(
            access=access,
            model=None if chosen is None else Model(chosen, weights=weights, device=device),
            who=name_of(who),
            max_upload=max_upload << 20,
            **({} if places is None else review_parts(places, stack, name_of(who))),
        )
        run(build_app(parts), opened, f"http://{ADDRESS}:{port}/?token={access.token}", show=show)


def review_parts(places: Places, stack: ExitStack, who: str) -> dict:
    """What a review needs, with the log open until the stack ends."""
    table = read_images(places.images)
    pictures = Pictures(table, places.images, places.image_root)
    labels = Labels(places.labels, pd.Index(table["image_id"]))
    saved = stack.enter_context(SavedLog(places.log))
    log = places.log.resolve()
    say(f"{places.labels}: {len(labels)} labels; decisions go to {places.log}")
    return {
        "desk": Desk(labels, pictures, saved, who),
        "pictures": pictures,
        "labels": str(places.labels),
        "version": version_of(places.images.resolve(), places.images.stat().st_mtime_ns, places.image_root),
        "log": version_of(log),
    }


def choose_model(stated: Path | None, places: Places | None) -> Callable[[], Path] | None:
    """How to find the model when it is needed, without loading anything; None where there is none.

    Raises:
        DataError: If the one stated is not there.
        ConfigError: If it is of another kind.
    """
    named = stated or (places.model if places else None)
    if named is not None:
        read_card(named)
        return lambda: named
    return _default_model if (DEFAULT_MODEL / "config.json").exists() or weights_in_place() else None


def name_of(who: str | None) -> str:
    """Who decides.

    Raises:
        ConfigError: If the name is empty or very long, or none was stated and the account has none.
    """
    if who is None:
        try:
            who = getpass.getuser()
        except (KeyError, OSError):
            raise ConfigError("the account has no name. Say who decides: --who NAME") from None
    if not who.strip() or len(who) > LONGEST_NAME:
        raise ConfigError(f"--who is {who[:40]!r}. Allowed: a name of 1 to {LONGEST_NAME} characters")
    return who.strip()


def _default_model() -> Path:
    from answering.photographs import default_model  # it brings torch

    return default_model()
