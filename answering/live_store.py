"""What frozen encoders say about images: arrays as feature stores keep them, made when asked for."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from deixis.anchors import Survivors, best_boxes
from deixis.batches.features import BOXES, CPU, SURVIVORS, chunks
from deixis.batches.pooled import pool_detector, pool_expert
from deixis.batches.survivors import surviving
from deixis.core.runtime import autocast
from deixis.imaging.images import ImageReader
from deixis.roles import Detector, Expert
from deixis.types import SCALES, Scales
from models.detectors.category_votes import with_voted_categories
from models.image_text.clip_image_text import CLIPImageText
from models.image_text.crops import embed_crops

IMAGES_PER_BATCH = 32
KEPT = 512  # images whose arrays stay in memory; more than any batch asks for

Arrays = Callable[[torch.Tensor], dict[str, tuple[torch.Tensor, type]]]


@torch.inference_mode()
def encode_squares(arrays: Arrays, squares: torch.Tensor, device: torch.device) -> dict[str, np.ndarray]:
    """What an encoder says about letterboxed images, in the precision of a store."""
    with autocast(device):
        outputs = arrays(squares.to(device, non_blocking=True))
    return {name: tensor.float().cpu().numpy().astype(dtype) for name, (tensor, dtype) in outputs.items()}


def detector_arrays(
    model: Detector, scales: Scales = ("coarse",), *, survivors: Survivors | None = None, coarse_side: int | None = None
) -> Arrays:
    """Three feature maps in half precision; boxes of some scales in single, because half a pixel matters.

    The boxes of all scales vote on the categories of those that are stored. With `survivors` the stored boxes are what
    suppression leaves of all scales, with their own categories, their cells and their colours. With `coarse_side` the
    finest map is pooled, as teachers of that grid read it.
    """

    def arrays(squares: torch.Tensor) -> dict[str, tuple[torch.Tensor, type]]:
        detections = model.detect(squares, scales=SCALES)
        kept = detections.maps if coarse_side is None else pool_detector(detections.maps, coarse_side)
        maps: dict[str, tuple[torch.Tensor, type]] = {
            name: (x, np.float16) for name, x in zip(SCALES, kept, strict=True)
        }
        if survivors is not None:
            left = surviving(detections, squares, survivors)
            assert left.cells is not None and left.colours is not None
            arrays = (left.cells, np.int32), (left.boxes, np.float32), (left.colours, np.float16)
            return maps | dict(zip(SURVIVORS, arrays, strict=True))
        cells = [feature_map[0, 0].numel() for feature_map in detections.maps]
        boxes = dict(zip(SCALES, detections.boxes.split(cells, dim=1), strict=True))
        stored = {BOXES[scale]: (with_voted_categories(boxes[scale], detections.boxes), np.float32) for scale in scales}
        return maps | stored

    return arrays


def expert_arrays(model: Expert, *, coarse_side: int | None = None) -> Arrays:
    """One feature map in half precision, with `coarse_side` pooled, as teachers of that grid read it."""

    def arrays(squares: torch.Tensor) -> dict[str, tuple[torch.Tensor, type]]:
        encoded = model.encode(squares)
        return {"map": (encoded if coarse_side is None else pool_expert(encoded, coarse_side), np.float16)}

    return arrays


def crop_arrays(model: CLIPImageText, detector: Detector, survivors: Survivors) -> Arrays:
    """What CLIP sees in each box that suppression leaves; found again, since each encoder has a store of its own."""

    def arrays(squares: torch.Tensor) -> dict[str, tuple[torch.Tensor, type]]:
        boxes = surviving(detector.detect(squares, scales=SCALES), squares, survivors).boxes
        return {"map": (embed_crops(model, squares, best_boxes(boxes).corners), np.float16)}

    return arrays


class LiveStore:
    """A frozen encoder that reads like a feature store: it looks at an image when first asked about it.

    What was said about the last `KEPT` images stays, in a store's precision, so that answers equal the stages'.
    """

    def __init__(self, arrays: Arrays, images: ImageReader, device: torch.device) -> None:
        self._arrays = arrays
        self._images = images
        self._device = device
        self._stored: dict[int, dict[str, np.ndarray]] = {}

    def holds(self, array: str) -> bool:
        """Whether there is an array of that name; looks at one image if none was seen yet."""
        if not self._stored:
            self._look([self._images.first_id])
        return array in next(iter(self._stored.values()))

    def read(self, array: str, image_ids: Sequence[int], device: torch.device = CPU) -> Tensor:
        """One row per image id, float32, on a device: [images, ...]."""
        unseen = [image_id for image_id in dict.fromkeys(image_ids) if image_id not in self._stored]
        for part in chunks(unseen, IMAGES_PER_BATCH):
            self._look(part)
        rows = torch.from_numpy(np.stack([self._stored[image_id][array] for image_id in image_ids]))
        for image_id in list(self._stored)[: max(0, len(self._stored) - KEPT)]:
            del self._stored[image_id]
        return rows.to(device, non_blocking=True).float()

    def _look(self, image_ids: Sequence[int]) -> None:
        arrays = encode_squares(self._arrays, self._images.squares(image_ids), self._device)
        for row, image_id in enumerate(image_ids):
            self._stored[image_id] = {name: values[row] for name, values in arrays.items()}
