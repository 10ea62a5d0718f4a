"""Which of some images a model does not know: photographs, for one that was trained on drawn scenes."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deixis.batches.features import chunks
from deixis.core.runtime import autocast
from deixis.imaging.images import ImageReader
from deixis.labelling.domain import map_statistics, read_domain
from models.frozen.detectors import load_detector

IMAGES_PER_BATCH = 32


class KnownDomain:
    """What the detector of a folder of frozen models was trained on; knows everything where it does not say.

    Attributes:
        name: "drawn scenes"; empty where it does not say.
    """

    def __init__(self, weights: Path, device: torch.device) -> None:
        self._domain = read_domain(weights / "detector")
        self.name = self._domain.name if self._domain else ""
        self._detector = load_detector(weights / "detector", device) if self._domain else None
        self._device = device

    @torch.inference_mode()
    def foreign(self, images: pd.DataFrame, root: Path) -> set[Any]:
        """Ids of the images that are not of the domain.

        Args:
            images: image_id, path (below `root`), width, height.
        """
        if self._domain is None or self._detector is None:
            return set()
        side, framing = self._detector.input_size, self._detector.framing
        reader = ImageReader(images, root=root, side=side, framing=framing, cache_bytes=0)
        found: set[Any] = set()
        for ids in chunks(images["image_id"].tolist(), IMAGES_PER_BATCH):
            squares = reader.squares(ids).to(self._device)
            with autocast(self._device):
                maps = self._detector.detect(squares).maps
            belongs = self._domain.belongs(map_statistics(maps)).tolist()
            found |= {image_id for image_id, known in zip(ids, belongs, strict=True) if not known}
        return found
