"""A frozen encoder that reads like a feature store: it looks at a picture when first asked about it, and once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deixis.features import chunks
from deixis.imaging.images import ImageReader
from stages.extract_features import Arrays, encode_squares

IMAGES_PER_BATCH = 32


class LiveStore:
    """What one encoder says about some pictures, in the precision of a store, so that answers equal the stages'.

    Everything said is kept: make a new one for other pictures.
    """

    def __init__(self, arrays: Arrays, pictures: ImageReader, device: torch.device) -> None:
        self._arrays = arrays
        self._pictures = pictures
        self._device = device
        self._said: dict[int, dict[str, np.ndarray]] = {}

    def read(self, array: str, image_ids: Sequence[int]) -> Tensor:
        """One row per image id, float32: [images, ...]."""
        unseen = [image_id for image_id in dict.fromkeys(image_ids) if image_id not in self._said]
        for part in chunks(unseen, IMAGES_PER_BATCH):
            found = encode_squares(self._arrays, self._pictures.squares(part), self._device)
            for row, image_id in enumerate(part):
                self._said[image_id] = {name: values[row] for name, values in found.items()}
        return torch.from_numpy(np.stack([self._said[image_id][array] for image_id in image_ids])).float()
