"""What frozen encoders say about images: arrays as feature stores keep them, made when asked for."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from deixis.batches.features import BOXES, chunks
from deixis.core.runtime import autocast
from deixis.imaging.images import ImageReader
from deixis.roles import Detector, Expert
from deixis.types import SCALES, Scales
from models.detectors.category_votes import with_voted_categories

IMAGES_PER_BATCH = 32
KEPT = 512  # images whose arrays stay in memory; more than any batch asks for

Arrays = Callable[[torch.Tensor], dict[str, tuple[torch.Tensor, type]]]


@torch.inference_mode()
def encode_squares(arrays: Arrays, squares: torch.Tensor, device: torch.device) -> dict[str, np.ndarray]:
    """What an encoder says about letterboxed images, in the precision of a store."""
    with autocast(device):
        outputs = arrays(squares.to(device, non_blocking=True))
    return {name: tensor.float().cpu().numpy().astype(dtype) for name, (tensor, dtype) in outputs.items()}


def detector_arrays(model: Detector, scales: Scales = ("coarse",)) -> Arrays:
    """Three feature maps in half precision; boxes of some scales in single, because half a pixel matters.

    The boxes of all scales vote on the categories of those that are stored.
    """

    def arrays(squares: torch.Tensor) -> dict[str, tuple[torch.Tensor, type]]:
        detections = model.detect(squares, scales=SCALES)
        maps = dict(zip(SCALES, detections.maps, strict=True))
        cells = [feature_map[0, 0].numel() for feature_map in detections.maps]
        boxes = dict(zip(SCALES, detections.boxes.split(cells, dim=1), strict=True))
        stored = {BOXES[scale]: (with_voted_categories(boxes[scale], detections.boxes), np.float32) for scale in scales}
        return {name: (feature_map, np.float16) for name, feature_map in maps.items()} | stored

    return arrays


def expert_arrays(model: Expert) -> Arrays:
    """One feature map in half precision."""
    return lambda squares: {"map": (model.encode(squares), np.float16)}


class LiveStore:
    """A frozen encoder that reads like a feature store: it looks at an image when first asked about it.

    What was said about the last `KEPT` images stays, in a store's precision, so that answers equal the stages'.
    """

    def __init__(self, arrays: Arrays, images: ImageReader, device: torch.device) -> None:
        self._arrays = arrays
        self._images = images
        self._device = device
        self._stored: dict[int, dict[str, np.ndarray]] = {}

    def read(self, array: str, image_ids: Sequence[int]) -> Tensor:
        """One row per image id, float32: [images, ...]."""
        unseen = [image_id for image_id in dict.fromkeys(image_ids) if image_id not in self._stored]
        for part in chunks(unseen, IMAGES_PER_BATCH):
            arrays = encode_squares(self._arrays, self._images.squares(part), self._device)
            for row, image_id in enumerate(part):
                self._stored[image_id] = {name: values[row] for name, values in arrays.items()}
        rows = torch.from_numpy(np.stack([self._stored[image_id][array] for image_id in image_ids])).float()
        for image_id in list(self._stored)[: max(0, len(self._stored) - KEPT)]:
            del self._stored[image_id]
        return rows
