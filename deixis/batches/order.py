"""In which order rows are learnt: batches of row numbers, drawn anew each epoch from the seed and the epoch alone.

So a run that was killed goes on with the very batches that it would have had.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from deixis.core.errors import DataError

SEED_STRIDE = 100_003  # more than the epochs of any run, so that no two seeds share the generator of an epoch

BatchOrder = Callable[[int], Iterator[list[int]]]  # epoch -> batches of row numbers


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Random numbers of one epoch, decided by seed and epoch alone."""
    return torch.Generator().manual_seed(seed * SEED_STRIDE + epoch)


def shuffled_rows(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, " rows"]]:
    """Batches of row numbers in random order; the last partial one is dropped."""
    order = torch.randperm(count, generator=generator)
    yield from order[: count // batch_size * batch_size].split(batch_size)


def shuffled_batches(count: int, batch_size: int, *, seed: int) -> BatchOrder:
    """Epoch -> batches of row numbers, ordered by seed and epoch only; the last partial one is dropped."""
    return lambda epoch: (rows.tolist() for rows in shuffled_rows(count, batch_size, epoch_generator(seed, epoch)))


def drawn_batches(groups: Sequence[int], batch_size: int, *, seed: int) -> BatchOrder:
    """Epoch -> batches of row numbers, one row of each group, drawn anew; the last partial batch is dropped.

    Args:
        groups: Of each row: what its phrase is about.
    """
    rows_of: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    members = list(rows_of.values())

    def batches(epoch: int) -> Iterator[list[int]]:
        generator = epoch_generator(seed, epoch)
        shares = torch.rand(len(members), generator=generator).tolist()
        for chosen in shuffled_rows(len(members), batch_size, generator):
            yield [members[place][int(shares[place] * len(members[place]))] for place in chosen.tolist()]

    return batches


def whole_image_batches(image_ids: Sequence[int], images: int, *, seed: int) -> BatchOrder:
    """Epoch -> batches of row numbers, so many images with all their phrases; the last partial batch is dropped.

    Args:
        image_ids: Of each row.
        images: Number of images of a batch.
    """
    rows_of: dict[int, list[int]] = {}
    for row, image_id in enumerate(image_ids):
        rows_of.setdefault(image_id, []).append(row)
    members = list(rows_of.values())

    def batches(epoch: int) -> Iterator[list[int]]:
        for chosen in shuffled_rows(len(members), images, epoch_generator(seed, epoch)):
            yield [row for place in chosen.tolist() for row in members[place]]

    return batches


def image_batches(
    image_ids: Sequence[int],
    objects: Sequence[int],
    *,
    images: int,
    phrases_per_object: int,
    seed: int,
    objects_per_image: int | None = None,
) -> BatchOrder:
    """Epoch -> batches of row numbers, whole images at a time: a phrase meets the others of its image.

    Every image comes once per epoch, and of each of its objects a few phrases drawn anew; the last partial batch is
    dropped. The order depends on seed and epoch only.

    Args:
        image_ids: Of each row.
        objects: What each row's phrase is about; equal numbers within one image mean one object.
        images: Number of images of a batch.
        phrases_per_object: At most so many.
        objects_per_image: At most so many, drawn anew; all by default.
    """
    groups = _rows_by_object(image_ids, objects)

    def batches(epoch: int) -> Iterator[list[int]]:
        generator = epoch_generator(seed, epoch)
        for chosen in shuffled_rows(len(groups), images, generator):
            things = [
                thing for image in chosen.tolist() for thing in _draw(groups[image], objects_per_image, generator)
            ]
            yield [row for thing in things for row in _draw(thing, phrases_per_object, generator)]

    return batches


def slice_of_batch(image_ids: Sequence[int], *, rank: int, ranks: int) -> list[int]:
    """Places of those rows of a batch that one of several processes reads: all about some of its images.

    The images of all processes, one after the other, are those of the batch in its order, each once. So what counts
    images, as BatchNorm over their maps, counts as one process would. Rows are in the batch's order, too, where those
    about one image follow each other.

    Args:
        image_ids: Of each row of the batch.

    Raises:
        DataError: If there are fewer images than processes.
    """
    number = {image_id: place for place, image_id in enumerate(dict.fromkeys(image_ids))}
    if len(number) < ranks:
        raise DataError(
            f"a batch about {len(number)} images for {ranks} processes, each of which needs one. Train over fewer "
            "processes, or raise recipe.batch_size in params.yaml, then run: dvc repro"
        )
    first, end = (len(number) * each // ranks for each in (rank, rank + 1))
    return [place for place, image_id in enumerate(image_ids) if first <= number[image_id] < end]


def _rows_by_object(image_ids: Sequence[int], objects: Sequence[int]) -> list[list[list[int]]]:
    """Rows of each object of each image, all in order of appearance."""
    rows_of: dict[int, dict[int, list[int]]] = {}
    for row, (image_id, thing) in enumerate(zip(image_ids, objects, strict=True)):
        rows_of.setdefault(image_id, {}).setdefault(thing, []).append(row)
    return [list(things.values()) for things in rows_of.values()]


def _draw(items: list[Any], most: int | None, generator: torch.Generator) -> list[Any]:
    return [items[place] for place in torch.randperm(len(items), generator=generator)[:most].tolist()]


def count_batches(count: int, batch_size: int, *, of: str, setting: str, found_in: Path | None = None) -> int:
    """Whole batches of an epoch.

    Args:
        of: What is counted, as the message says it after the number: "training pairs".
        setting: Dotted key of the batch size in params.yaml.
        found_in: File of what is counted.

    Raises:
        DataError: If there is not one batch.
    """
    if count < batch_size:
        place = f"{found_in}: " if found_in else ""
        raise DataError(
            f"{place}{count} {of}, fewer than one batch of {batch_size}. Add some, or lower {setting} in params.yaml, "
            "then run: dvc repro"
        )
    return count // batch_size
