"""What an epoch goes through, as a recipe says: phrases, one phrase of each referred object, or whole images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from deixis.batches.order import (
    BatchOrder,
    count_batches,
    drawn_batches,
    shuffled_batches,
    slice_of_batch,
    whole_image_batches,
)
from deixis.batches.samples import refuse_ungrouped, with_groups
from deixis.core.errors import ConfigError
from deixis.training.fit import Recipe
from deixis.training.ranks import rank, ranks

OF_IMAGES = {"epoch": "images, each with all its phrases"}
OF_REFS = {"epoch": "one phrase of each ref, drawn anew"}  # for cards: this uses which phrases name one object


def epoch_batches(
    train: pd.DataFrame, recipe: Recipe, *, section: str, of: str, seed: int, found_in: Path | None = None
) -> tuple[BatchOrder, int, dict[str, Any]]:
    """Batches of rows of `train` in each epoch, how many they are, and what the card says of it.

    Of several processes that train together each has its slices.

    Args:
        section: Of the recipe in params.yaml.
        of: What the rows are, as a message says it: "training pairs".
        found_in: File of the rows.

    Raises:
        DataError: If there is not one batch, or an epoch is one of refs and some phrase has none.
    """
    setting, size = f"{section}.batch_size", recipe.batch_size
    if recipe.epoch == "phrases":
        steps = count_batches(len(train), size, of=of, setting=setting, found_in=found_in)
        return own_batches(shuffled_batches(len(train), size, seed=seed), train), steps, {}
    if recipe.epoch == "images":
        image_ids: list[Any] = train["image_id"].tolist()
        steps = count_batches(len(set(image_ids)), size, of=f"images of {of}", setting=setting, found_in=found_in)
        return own_batches(whole_image_batches(image_ids, size, seed=seed), train), steps, OF_IMAGES
    grouped = with_groups(train)
    refuse_ungrouped(grouped, found_in=found_in or Path("pairs"), setting=f"{section}.epoch", without="phrases")
    refs = grouped["group"].nunique()
    steps = count_batches(refs, size, of=f"refs among {of}", setting=setting, found_in=found_in)
    return own_batches(drawn_batches(grouped["group"].tolist(), size, seed=seed), train), steps, OF_REFS


def own_batches(order: BatchOrder, table: pd.DataFrame) -> BatchOrder:
    """Of each batch of rows of a table the slice of this process, where several train together."""
    if ranks() == 1:
        return order
    image_ids: list[int] = table["image_id"].tolist()

    def batches(epoch: int) -> Iterator[list[int]]:
        for rows in order(epoch):
            own = slice_of_batch([image_ids[row] for row in rows], rank=rank(), ranks=ranks())
            yield [rows[place] for place in own]

    return batches


def refuse_other_epochs(recipe: Recipe, what: str) -> None:
    """Stop where a recipe counts refs or images and its batches are of a kind of their own.

    Raises:
        ConfigError: If so.
    """
    if recipe.epoch != "phrases":
        raise ConfigError(
            f"{what}: its recipe says epoch: {recipe.epoch}, but its batches are of another kind. Allowed: phrases, or "
            "no such line. Fix params.yaml, then run: dvc repro"
        )
