"""Phrases with their images, as batches for teachers that answer with response maps; truth is out of reach."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from deixis.batches.features import FeatureStore, chunks
from deixis.batches.samples import unique_images, unpack_bits
from deixis.core.errors import DataError
from deixis.core.records import read_json
from deixis.cues.reading import Padding, answer_of, pad_cues, read_cues, read_records
from deixis.imaging.images import ImageReader
from deixis.imaging.letterbox import Letterbox
from deixis.language.tokens import encode
from deixis.roles import MapTeacher
from deixis.types import MapBatch, Reading

IMAGES_AT_ONCE = 256  # of which proposals are counted


def padded_cues(path: Path, texts: Iterable[str], *, count: int, policy: Padding) -> dict[str, list[str]]:
    """So many cues of each phrase.

    Raises:
        DataError: If the file lacks a phrase.
    """
    known = read_cues(path)
    needed = set(texts)
    missing = sorted(needed - known.keys())
    if missing:
        raise DataError(
            f'{path}: no cues for {len(missing)} of {len(needed)} phrases, the first is "{missing[0]}". '
            "Run: dvc repro -f write_cues"
        )
    return {text: pad_cues(known[text], count, policy, text=text) for text in needed}


def read_needed_cues(model: MapTeacher, cues: Path | None, texts: Iterable[str]) -> dict[str, list[str]] | None:
    """Cues for teachers that read them, None for others.

    Raises:
        DataError: If they are needed and no file is named.
    """
    reading = model.cue_reading
    if reading is None:
        return None
    if cues is None:
        raise DataError(
            "this teacher reads cues, and no file of them was named (--cues). "
            "Put the dataset under run.proposals in params.yaml, then run: dvc repro"
        )
    return padded_cues(cues, texts, count=reading.count, policy=reading.padding)


def count_fallbacks(cues: Path) -> int:
    """Phrases of a file of cues, of all splits, for which the rule stood in because the named source failed."""
    return sum(answer_of(record).fallback for record in read_records(cues))


def refuse_other_squares(proposals: Path, *, stretch: bool) -> None:
    """Stop where proposals lie in another square than the teacher's images.

    Raises:
        DataError: Says which setting fixes it.
    """
    stored = read_json(proposals / "meta.json", made_by="propose_masks").get("stretch", False)
    if stored != stretch:
        raise DataError(
            f"{proposals}: proposals of {'stretched' if stored else 'letterboxed'} images, but this teacher reads "
            f"{'stretched' if stretch else 'letterboxed'} ones. Set proposals.stretch: {str(stretch).lower()} in "
            "params.yaml, then run: dvc repro"
        )


class MapReader:
    """Phrases of a table, with the squares of their images.

    Args:
        table: Columns image_id, text and group.
        images: Columns image_id, path, width, height.
        reading: How the teacher reads them.
        cues: Normalised phrase -> its cues, all of one number; for teachers that read cues.
        proposals: Feature store of packed proposal masks; for teachers that weigh proposals.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        images: pd.DataFrame,
        *,
        image_root: Path,
        reading: Reading,
        device: torch.device,
        cues: Mapping[str, Sequence[str]] | None = None,
        proposals: Path | None = None,
    ) -> None:
        self.image_ids: list[int] = table["image_id"].tolist()
        self._images = ImageReader(
            images, root=image_root, side=reading.side, stretch=reading.stretch, cache_bytes=1 << 30
        )
        self._tokens = _encode(table["text"].tolist(), reading)
        self._groups = torch.tensor(table["group"].to_numpy())
        self._cues = None
        if cues is not None:
            flat = [cue for text in table["text"] for cue in cues[text]]
            self._cues = _encode(flat, reading).view(len(table), -1, reading.length)
        self._proposals = FeatureStore(proposals, made_by="propose_masks") if proposals else None
        self._device = device

    def __len__(self) -> int:
        """Number of phrases."""
        return len(self.image_ids)

    def batch(self, rows: Sequence[int], *, epoch: int = 0) -> MapBatch:
        """Some phrases, by position."""
        rows = list(rows)
        ids, image_of = unique_images([self.image_ids[row] for row in rows])
        return MapBatch(
            squares=self._images.squares(ids).to(self._device),
            tokens=self._tokens[rows].to(self._device),
            image_of=image_of.to(self._device),
            group_of=self._groups[rows].to(self._device),
            cues=None if self._cues is None else self._cues[rows].to(self._device),
            proposals=self._read_proposals(ids),
            epoch=epoch,
        )

    def _read_proposals(self, image_ids: Sequence[int]) -> torch.Tensor | None:
        if self._proposals is None:
            return None
        return unpack_bits(self._proposals.read("masks", image_ids, self._device))

    def images_without_proposals(self) -> int:
        """How many of its images have none, where it reads proposals: they teach by classification alone."""
        if self._proposals is None:
            return 0
        bare = 0
        for part in chunks(list(dict.fromkeys(self.image_ids)), IMAGES_AT_ONCE):
            bare += int((~self._proposals.read("masks", part).flatten(1).any(1)).sum())
        return bare

    def letterbox(self, image_id: int) -> Letterbox:
        """How an image lies in its square."""
        return self._images.letterbox(image_id)


def _encode(texts: Sequence[str], reading: Reading) -> torch.Tensor:
    return encode(texts, reading.vocabulary, reading.length, keep_end=reading.keep_end)
