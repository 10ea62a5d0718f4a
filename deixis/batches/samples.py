"""Pairs of one dataset as training and labelling batches for teachers; truth is out of reach from here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from deixis.batches.features import BOXES, SURVIVORS, ArrayStore, has_survivors
from deixis.batches.pooled import refuse_pooled
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import read_table
from deixis.language.tokens import encode
from deixis.types import SCALES, BoxMasks, Detections, Scales, TeacherBatch

PAIR_COLUMNS = ("sample_id", "image_id", "expression", "text", "split")


def grouped_pairs(pairs: Path) -> pd.DataFrame:
    """All pairs with a column `group`: equal for phrases about one object, where the set says so; else a number each.

    The grouping is supervision beyond pairs; whoever uses it says so in the card.
    """
    return with_groups(read_table(pairs, columns=(*PAIR_COLUMNS, "ref_id"), made_by="prepare"))


def with_groups(table: pd.DataFrame) -> pd.DataFrame:
    """Pairs with the column `group`; without a column `ref_id`, nothing says which phrases are about one object."""
    if "ref_id" not in table:
        table = table.assign(ref_id=None)
    alone = "sample " + table["sample_id"].astype(str)
    named = table["ref_id"].astype(object).map(lambda ref: None if pd.isna(ref) else f"object {ref}").fillna(alone)
    return table.assign(group=pd.factorize(named)[0])


def refuse_ungrouped(table: pd.DataFrame, *, found_in: Path, setting: str, without: str) -> None:
    """Stop where a setting parts phrases about different objects, and some may be about one unsaid.

    Args:
        table: Rows of `grouped_pairs`; those without a `ref_id` have a group each there.
        setting: Which one needs to know.
        without: What it must say where nobody knows.

    Raises:
        DataError: Says how many phrases are not grouped, and both remedies.
    """
    missing = int(table["ref_id"].isna().sum())
    if missing:
        raise DataError(
            f"{found_in}: {missing} of {len(table)} phrases have no ref_id, and {setting} parts phrases about "
            f"different objects, so it must know which are about one. Allowed: {setting}: {without} in params.yaml, or "
            "a ref_id for every phrase (of own pairs: group, docs/own-data.md). Then run: dvc repro"
        )


class StoredExpertMaps:
    """Expert maps of some images, read from their stores when asked for."""

    def __init__(self, stores: Mapping[str, ArrayStore], image_ids: Sequence[int], device: torch.device) -> None:
        self._stores = stores
        self._image_ids = image_ids
        self._device = device

    def maps(self, expert: str, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows channels h w"]:
        """Maps of one expert for some images of the batch."""
        ids = [self._image_ids[row] for row in rows.tolist()]
        return self._stores[expert].read("map", ids, self._device)


class PairReader:
    """Phrases with the stored features of their images.

    Args:
        stores: By name: `detector`, every expert of the teacher, and `box_masks` where it learns from them.
        scales: Whose boxes the teacher weighs.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        *,
        stores: Mapping[str, ArrayStore],
        vocabulary: Sequence[str],
        length: int,
        device: torch.device,
        scales: Scales = ("coarse",),
    ) -> None:
        self._image_ids = pairs["image_id"].tolist()
        self._texts = pairs["text"].tolist()
        self._tokens = encode(pairs["text"].tolist(), vocabulary, length)
        self._stores = stores
        self._device = device
        self._scales = scales

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._image_ids)

    def batch(self, rows: Sequence[int], *, epoch: int = 0) -> TeacherBatch:
        """Some pairs, by position."""
        ids, image_of = unique_images([self._image_ids[row] for row in rows])
        return TeacherBatch(
            tokens=self._tokens[list(rows)].to(self._device),
            image_of=image_of.to(self._device),
            detections=self._read_detections(ids),
            experts=StoredExpertMaps(self._stores, ids, self._device),
            box_masks=self._read_box_masks(ids),
            epoch=epoch,
            texts=tuple(self._texts[row] for row in rows),
        )

    def _read_detections(self, image_ids: Sequence[int]) -> Detections:
        """Of the survivors of suppression where the store holds them, else of all cells of the teacher's scales.

        Raises:
            ConfigError: If the store holds survivors, and the teacher weighs other boxes than those of all scales.
        """
        detector = self._stores["detector"]

        def read(name: str) -> Tensor:
            return detector.read(name, image_ids, self._device)

        maps = tuple(read(scale).contiguous(memory_format=torch.channels_last) for scale in SCALES)
        if self._scales != ("coarse",):
            refuse_pooled(maps[0], maps[2], f"a teacher of the scales {', '.join(self._scales)}")
        if not has_survivors(detector):
            return Detections(maps=maps, boxes=torch.cat([read(BOXES[scale]) for scale in self._scales], 1))
        if self._scales != SCALES:  # survivors' cells are counted in that order
            raise ConfigError(
                f"this teacher weighs boxes of the scales {', '.join(self._scales)}, and these features hold what "
                f"suppression left of all scales. Write scales: [{', '.join(SCALES)}] in the teacher's model in "
                "params.yaml, or leave out extraction.survivors, then run: dvc repro"
            )
        cells, boxes, colours = (read(name) for name in SURVIVORS)
        return Detections(maps=maps, boxes=boxes, cells=cells.long(), colours=colours)

    def _read_box_masks(self, image_ids: Sequence[int]) -> BoxMasks | None:
        if "box_masks" not in self._stores:
            return None
        stored = self._stores["box_masks"]
        cells, packed, content = (stored.read(name, image_ids, self._device) for name in ("cells", "masks", "content"))
        return BoxMasks(cells=cells.long(), masks=unpack_bits(packed), content_xyxy=content)


def pack_bits(masks: Bool[np.ndarray, "*n side side"]) -> UInt8[np.ndarray, "*n side bytes"]:
    """Eight pixels of a row to a byte; the last one is filled up where the side is no multiple of eight."""
    return np.packbits(masks, axis=-1)


def unpack_bits(packed: Tensor) -> Bool[Tensor, "*n side side"]:
    """What `pack_bits` packed: as many columns as there are rows. Stores hand out its bytes as floats."""
    places = 2 ** torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    return (packed.to(torch.uint8)[..., None] & places).bool().flatten(-2)[..., : packed.shape[-2]]


def unique_images(image_ids: Sequence[int]) -> tuple[list[int], Int[Tensor, " phrases"]]:
    """Each image once, in order of appearance, and the place of every phrase's image in that list."""
    place: dict[int, int] = {}
    image_of = [place.setdefault(image_id, len(place)) for image_id in image_ids]
    return list(place), torch.tensor(image_of)
