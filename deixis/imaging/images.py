"""Stored images to square tensors, remembered within a limit."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from deixis.core.errors import DataError
from deixis.imaging.decoding import open_image
from deixis.imaging.letterbox import CENTRED, Framing, Letterbox

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageReader:
    """Images in their squares, by id. Decoded ones stay in memory up to `cache_bytes`, so epochs decode once.

    Args:
        decoders: Threads that decode a batch between them, where nothing is kept; decoders leave Python's lock.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        root: Path,
        side: int,
        zoom: float = 1.0,
        stretch: bool = False,
        framing: Framing = CENTRED,
        cache_bytes: int = 1 << 30,
        decoders: int = 1,
    ) -> None:
        assert decoders == 1 or not cache_bytes, "what is kept first would depend on who is first"
        self._decoders = ThreadPoolExecutor(decoders) if decoders > 1 else None
        self._rows = {
            row.image_id: (
                root / row.path,
                Letterbox(row.width, row.height, side, zoom, stretch, framing),
            )
            for row in table.itertuples()
        }
        self._room = cache_bytes
        self._cache: dict[int, np.ndarray] = {}

    @property
    def first_id(self) -> int:
        """Some image."""
        return next(iter(self._rows))

    def letterbox(self, image_id: int) -> Letterbox:
        """Geometry of one image."""
        return self._rows[image_id][1]

    def squares(self, image_ids: Sequence[int]) -> UInt8[Tensor, "batch 3 side side"]:
        """Images in their squares, RGB."""
        decoded = (
            map(self._square, image_ids) if self._decoders is None else self._decoders.map(self._square, image_ids)
        )
        return torch.from_numpy(np.stack(list(decoded))).permute(0, 3, 1, 2)

    def pixels(self, image_id: int) -> np.ndarray:
        """The stored image, uint8 [height, width, 3]."""
        return np.asarray(open_image(self._rows[image_id][0]))

    def _square(self, image_id: int) -> np.ndarray:
        if image_id in self._cache:
            return self._cache[image_id]
        path, letterbox = self._rows[image_id]
        image = open_image(path)
        if image.size != (letterbox.width, letterbox.height):
            raise DataError(
                f"{path}: {image.width} x {image.height} pixels, but images.parquet says "
                f"{letterbox.width} x {letterbox.height}. Run: dvc repro -f prepare"
            )
        square = letterbox.apply(image)
        if self._room >= square.nbytes:
            self._room -= square.nbytes
            self._cache[image_id] = square
        return square


def standardise(
    squares: UInt8[Tensor, "batch 3 side side"] | Float[Tensor, "batch 3 side side"],
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Float[Tensor, "batch 3 side side"]:
    """Levels from 0 to 255 to floats with zero mean and unit variance per channel."""
    centre = torch.tensor(mean, device=squares.device).view(3, 1, 1)
    spread = torch.tensor(std, device=squares.device).view(3, 1, 1)
    return (squares.float() / 255 - centre) / spread
