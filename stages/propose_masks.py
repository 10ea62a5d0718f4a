"""Mask proposals of every image by the segmenter's automatic mode: what may be an object, with no phrase and no box.

reads   images.parquet, the images, the segmenter; params: proposals, detector.model.input_size
writes  a feature store: the masks of each image in its square (bits), largest first, empty ones where there are fewer
run     dvc repro propose_masks@scenes_plus, with scenes_plus under run.proposals in params.yaml
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from pydantic.dataclasses import dataclass
from torch.nn import functional as F

from deixis.batches.features import FeatureStore, chunks, extract
from deixis.batches.samples import pack_bits
from deixis.core.checkpoints import run_key
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.progress import say
from deixis.core.records import file_sha256, read_table
from deixis.core.runtime import Device, pick_device
from deixis.imaging.images import ImageReader
from deixis.labelling.proposals import clean_proposals
from models.frozen.segmenters import load_segmenter

BATCH_SIZE = 32


@dataclass(frozen=True, config=STRICT)
class ProposalParams:
    """The `proposals` section; the defaults are PCNet's, for images of COCO's size."""

    points_per_side: int = 8
    min_quality: float = 0.7  # IoU that the segmenter itself expects
    min_stability: float = 0.7
    min_area: int = 1000  # pixels of the stored image
    max_overlap: float = 0.8  # IoU with a larger one
    most: int = 40  # per image
    grid: int = 32  # side of the stored masks
    stretch: bool = False  # where teachers read stretched images, as on CLIP's towers


def propose_masks(
    *,
    images: Path,
    image_root: Path,
    segmenter: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Propose masks for every image."""
    config = read_section(params, "proposals", ProposalParams)
    side = read_section(params, "detector.model.input_size", int)
    table = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    reader = ImageReader(table, root=image_root, side=side, stretch=config.stretch, cache_bytes=0)
    propose = partial(
        load_segmenter(segmenter, pick_device(device)).propose,
        points_per_side=config.points_per_side,
        min_quality=config.min_quality,
        min_stability=config.min_stability,
    )

    checksum = file_sha256(segmenter / "model.safetensors")
    extract(
        table["image_id"].tolist(),
        lambda image_ids: {"masks": pack_bits(proposals_in_grid(propose, reader, image_ids, config))},
        scratch=Path("scratch/propose_masks") / run_key(config, images, checksum, threads=False),
        out=out,
        meta={"model": "segmenter, automatic mode", "weights_sha256": checksum, "input_size": side}
        | ({"stretch": True} if config.stretch else {}),
        batch_size=BATCH_SIZE,
    )
    store = FeatureStore(out, made_by="propose_masks")
    parts = (store.read("masks", part) for part in chunks(table["image_id"].tolist(), BATCH_SIZE))
    bare = sum(int((~part.flatten(1).any(1)).sum()) for part in parts)
    say(f"{bare} of {len(table)} images without a proposal")  # they teach by classification alone


def proposals_in_grid(
    propose: Callable[[np.ndarray], np.ndarray],
    reader: ImageReader,
    image_ids: Sequence[int],
    config: ProposalParams,
) -> Bool[np.ndarray, "images most grid grid"]:
    """Proposals of some images in their squares, largest first, each cell by whether it covers more than half of it.

    Args:
        propose: Image -> masks, [proposals, height, width].
    """
    grids = np.zeros((len(image_ids), config.most, config.grid, config.grid), bool)
    proposed = 0
    for row, image_id in enumerate(image_ids):
        masks = propose(reader.pixels(image_id))
        masks = clean_proposals(masks, min_area=config.min_area, max_overlap=config.max_overlap, most=config.most)
        if len(masks):
            whole = torch.from_numpy(np.stack([reader.letterbox(image_id).mask_to_input(mask) for mask in masks]))
            grids[row, : len(masks)] = (F.adaptive_avg_pool2d(whole[None], config.grid)[0] > 0.5).numpy()
            proposed += len(masks)
    lost = proposed - int(grids.any((2, 3)).sum())
    if lost:  # no cell is covered by more than half
        say(f"{lost} of {proposed} masks too thin for a grid of {config.grid}")
    return grids


if __name__ == "__main__":
    run_stage(propose_masks)
