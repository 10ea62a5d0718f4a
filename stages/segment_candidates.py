"""Masks of the detector's boxes by the frozen segmenter, once per image: what teachers of masks learn from.

reads   images.parquet, the images, the detector's feature store, the segmenter; params: candidates
writes  a feature store: numbers of the kept cells, the mask of each one's best box (bits), where the image lies
run     dvc repro segment_candidates@scenes_plus, with scenes_plus under run.box_masks in params.yaml
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from deixis.anchors import best_boxes, gather_cells, keep_confident_cells
from deixis.batches.candidates import CandidateParams
from deixis.batches.features import FeatureStore, extract
from deixis.batches.samples import pack_bits
from deixis.core.checkpoints import run_key
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import file_sha256, read_json, read_table
from deixis.core.runtime import Device, pick_device
from deixis.imaging.images import ImageReader
from deixis.imaging.letterbox import Letterbox
from deixis.roles import Segmenter
from models.frozen.segmenters import load_segmenter

BATCH_SIZE = 32


def segment_candidates(
    *,
    images: Path,
    image_root: Path,
    features: Path,
    segmenter: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Segment the best box of every kept cell of every image."""
    config = read_section(params, "candidates", CandidateParams)
    table = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    detector = FeatureStore(features)
    side = read_json(features / "meta.json", made_by="extract_features")["input_size"]
    reader = ImageReader(table, root=image_root, side=side, cache_bytes=0)
    model = load_segmenter(segmenter, pick_device(device))

    checksum = file_sha256(segmenter / "model.safetensors")
    key = run_key(config, images, checksum, features / "meta.json", threads=False)
    extract(
        table["image_id"].tolist(),
        lambda image_ids: masks_of_boxes(
            model, reader, image_ids, detector.read("boxes", image_ids), config, grid=side // config.mask_stride
        ),
        scratch=Path("scratch/segment_candidates") / key,
        out=out,
        meta={"model": "segmenter on detector boxes", "weights_sha256": checksum, "input_size": side},
        batch_size=BATCH_SIZE,
    )


def masks_of_boxes(
    model: Segmenter,
    reader: ImageReader,
    image_ids: Sequence[int],
    boxes: Float[Tensor, "images cells per_cell values"],
    config: CandidateParams,
    *,
    grid: int,
) -> dict[str, np.ndarray]:
    """Arrays of the feature store for some images: kept cells, the packed mask of each one's best box, the content."""
    cells = keep_confident_cells(boxes, config.keep_fraction)
    corners = best_boxes(gather_cells(boxes, cells)).corners
    masks, content = [], []
    for image_id, best in zip(image_ids, corners, strict=True):
        letterbox = reader.letterbox(image_id)
        masks.append(segment_in_square(model, reader.pixels(image_id), best, letterbox, grid, config.best_of_three))
        content.append(letterbox.boxes_to_input(torch.tensor([0.0, 0.0, letterbox.width, letterbox.height])))
    return {
        "cells": cells.numpy().astype(np.int16),
        "masks": pack_bits(np.stack(masks)),
        "content": torch.stack(content).numpy().astype(np.float32),
    }


def segment_in_square(
    model: Segmenter, pixels: np.ndarray, boxes: Tensor, letterbox: Letterbox, grid: int, best_of_three: bool
) -> np.ndarray:
    """Masks of boxes in the square, bool [boxes, grid, grid]; empty where a box lies outside the image."""
    height, width = pixels.shape[:2]
    limit = torch.tensor([width, height, width, height])
    stored = torch.minimum(letterbox.boxes_to_image(boxes).clamp(min=0), limit)
    masks, _ = model.segment(pixels, stored, best_of_three=best_of_three)
    squares = torch.from_numpy(np.stack([letterbox.mask_to_input(mask) for mask in masks]))
    outside = ((stored[:, 2:] - stored[:, :2]) < 1).any(1)
    return ((F.adaptive_avg_pool2d(squares[None], grid)[0] > 0.5) & ~outside[:, None, None]).numpy()


if __name__ == "__main__":
    run_stage(segment_candidates)
