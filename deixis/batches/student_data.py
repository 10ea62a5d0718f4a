"""Labelled phrases with their images, as batches for students."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from deixis.batches.candidates import CandidateTable
from deixis.batches.image_memory import MapStore, StoredImageMemory
from deixis.batches.samples import unique_images
from deixis.boxes import xyxy_to_cxcywh
from deixis.imaging.images import ImageReader
from deixis.imaging.masks import RLE, decode_mask, encode_mask
from deixis.language.tokens import encode
from deixis.types import CandidateBoxes, StudentBatch


class PhraseReader:
    """Phrases of a table, with the squares of their images and, where the table has a `box`, the target.

    Args:
        table: Columns image_id, text, and optionally box (corners in stored pixels) and mask (RLE or None).
        images: Columns image_id, path, width, height.
        candidates: For students that rank candidates.
        stretch: Whether images fill their squares, whatever their proportions.
        room_for_maps: Bytes for what frozen layers make of images; each batch then has a memory of them.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        images: pd.DataFrame,
        *,
        image_root: Path,
        side: int,
        vocabulary: Sequence[str],
        length: int,
        device: torch.device,
        candidates: CandidateTable | None = None,
        stretch: bool = False,
        cache_bytes: int = 1 << 30,
        room_for_maps: int = 0,
    ) -> None:
        self.side = side
        self.image_ids: list[int] = table["image_id"].tolist()
        self._images = ImageReader(images, root=image_root, side=side, stretch=stretch, cache_bytes=cache_bytes)
        self._tokens = encode(table["text"].tolist(), vocabulary, length)
        self._boxes = _as_tensor(table["box"]) if "box" in table else None
        self._masks = table["mask"].tolist() if "mask" in table else None
        self._candidates = candidates
        self._places = {image_id: place for place, image_id in enumerate(dict.fromkeys(self.image_ids))}
        self._store = self._make_store(room_for_maps) if room_for_maps else None
        self._device = device

    def __len__(self) -> int:
        """Number of phrases."""
        return len(self.image_ids)

    def batch(self, rows: Sequence[int]) -> StudentBatch:
        """Some phrases, by position."""
        ids, image_of = unique_images([self.image_ids[row] for row in rows])
        letterboxes = [self._images.letterbox(image_id) for image_id in ids]
        content = torch.stack([box.boxes_to_input(_whole(box.width, box.height)) for box in letterboxes])
        boxes = None
        if self._boxes is not None and not (targets := self._boxes[list(rows)]).isnan().any():
            pairs = zip(image_of.tolist(), targets, strict=True)
            corners = [letterboxes[image].boxes_to_input(target) for image, target in pairs]
            boxes = (xyxy_to_cxcywh(torch.stack(corners).clamp(0, self.side)) / self.side).to(self._device)
        return StudentBatch(
            squares=self._images.squares(ids).to(self._device),
            content_xyxy=content.to(self._device),
            tokens=self._tokens[list(rows)].to(self._device),
            image_of=image_of.to(self._device),
            boxes_norm=boxes,
            masks=None if self._masks is None else self._mask_targets(rows).to(self._device),
            candidates=None if self._candidates is None else self._padded_candidates(self._candidates, ids),
            memory=None if self._store is None else self._remember(self._store, ids),
        )

    def _make_store(self, room: int) -> MapStore:
        ids = list(self._places)

        def read(places: Sequence[int]) -> Tensor:
            return self._images.squares([ids[place] for place in places]).to(self._device)

        return MapStore(read, count=len(ids), room=room)

    def _remember(self, store: MapStore, image_ids: Sequence[int]) -> StoredImageMemory:
        return StoredImageMemory(store, [self._places[image_id] for image_id in image_ids], [0] * len(image_ids))

    def _padded_candidates(self, table: CandidateTable, image_ids: Sequence[int]) -> CandidateBoxes:
        per_image = [table[image_id] for image_id in image_ids]
        boxes = [
            self._images.letterbox(image_id).boxes_to_input(candidates.boxes_xyxy)
            for image_id, candidates in zip(image_ids, per_image, strict=True)
        ]
        valid = pad_sequence([torch.ones_like(c.categories) for c in per_image], batch_first=True).bool()
        return CandidateBoxes(
            boxes_xyxy=pad_sequence(boxes, batch_first=True).to(self._device),
            categories=pad_sequence([c.categories for c in per_image], batch_first=True).to(self._device),
            valid=valid.to(self._device),
        )

    def _mask_targets(self, rows: Sequence[int]) -> Tensor:
        targets = torch.zeros(len(rows), self.side, self.side)
        for place, row in enumerate(rows):
            rle = self._masks[row] if self._masks else None
            if rle is not None:
                letterbox = self._images.letterbox(self.image_ids[row])
                targets[place] = torch.from_numpy(letterbox.mask_to_input(decode_mask(rle)))
        return targets

    def masks_to_image(self, rows: Sequence[int], soft: Tensor, threshold: float) -> list[RLE]:
        """Soft masks of some phrases from the square back to stored pixels, cut at the threshold."""
        pairs = zip(rows, soft.float().cpu().numpy(), strict=True)
        return [
            encode_mask(self._images.letterbox(self.image_ids[row]).mask_to_image(mask) > threshold)
            for row, mask in pairs
        ]

    def to_image(self, rows: Sequence[int], boxes_xyxy: Tensor) -> Tensor:
        """Boxes of some phrases from the square back to stored pixels."""
        pairs = zip(rows, boxes_xyxy.cpu(), strict=True)
        return torch.stack([self._images.letterbox(self.image_ids[row]).boxes_to_image(box) for row, box in pairs])


def _as_tensor(boxes: pd.Series) -> Float[Tensor, "phrases 4"]:
    """Boxes in 16 bytes each; not numbers where there is none."""
    corners = np.full((len(boxes), 4), np.nan, dtype=np.float32)
    for row, box in enumerate(boxes):
        if box is not None:
            corners[row] = box
    return torch.from_numpy(corners)


def _whole(width: int, height: int) -> Tensor:
    return torch.tensor([0.0, 0.0, width, height])
