"""What one frozen encoder says about every image of a dataset, computed once.

reads   images.parquet, the images, the encoder's weights; params: extraction
writes  a feature store: fp16 shards, index.parquet, meta.json
run     dvc repro extract_features@scenes-detector
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass

from answering.live_store import detector_arrays, encode_squares, expert_arrays
from deixis.batches.features import extract
from deixis.core.checkpoints import run_key
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.records import file_sha256, read_table
from deixis.core.runtime import Device, pick_device
from deixis.imaging.images import ImageReader
from deixis.types import Scales
from models.frozen.detectors import load_detector
from models.frozen.experts import load_expert


@dataclass(frozen=True, config=STRICT)
class ExtractionParams:
    """The `extraction` section."""

    batch_size: int
    # the detector's, whose boxes are stored; teachers read the coarse ones unless their `scales` say otherwise
    box_scales: Scales = ("coarse",)


def extract_features(
    *,
    encoder: str,
    images: Path,
    image_root: Path,
    weights: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Encode every image of a dataset with one frozen encoder ("detector" or the name of an expert)."""
    side = read_section(params, "detector.model.input_size", int)
    config = read_section(params, "extraction", ExtractionParams)
    hardware = pick_device(device)
    columns = ("image_id", "path", "width", "height")
    table = read_table(images, columns=columns, made_by="prepare")
    reader = ImageReader(table, root=image_root, side=side, cache_bytes=0)
    if encoder == "detector":
        arrays = detector_arrays(load_detector(weights, hardware), config.box_scales)
    else:
        arrays = expert_arrays(load_expert(encoder, weights, hardware))

    def encode(image_ids: Sequence[int]) -> dict[str, np.ndarray]:
        return encode_squares(arrays, reader.squares(image_ids), hardware)

    checksum = file_sha256(weights / "model.safetensors")
    extract(
        table["image_id"].tolist(),
        encode,
        scratch=Path("scratch/extract_features") / run_key(encoder, images, checksum, side, config),
        out=out,
        meta={"model": encoder, "weights_sha256": checksum, "input_size": side, "letterbox": "centred, pad 127"},
        batch_size=config.batch_size,
    )


if __name__ == "__main__":
    run_stage(extract_features)
