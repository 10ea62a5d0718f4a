"""What one frozen encoder says about every image of a dataset, computed once.

reads   images.parquet, the images, the encoder's weights; params: extraction
writes  a feature store: fp16 shards, index.parquet, meta.json
run     dvc repro extract_features@scenes-detector
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from answering.live_store import Arrays, crop_arrays, detector_arrays, encode_squares, expert_arrays
from deixis.anchors import Survivors
from deixis.batches.features import extract
from deixis.core.checkpoints import run_key
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.errors import ConfigError
from deixis.core.records import file_sha256, read_table
from deixis.core.runtime import Device, pick_device
from deixis.imaging.images import ImageReader
from deixis.imaging.letterbox import CENTRED, Framing
from deixis.roles import Detector
from deixis.types import CLIP_CROPS, Scales
from models.frozen.detectors import load_detector
from models.frozen.experts import load_expert
from models.image_text.crops import load_crop_encoder


@dataclass(frozen=True, config=STRICT)
class ExtractionParams:
    """The `extraction` section."""

    batch_size: int
    # the detector's, whose boxes are stored; teachers read the coarse ones unless their `scales` say otherwise
    box_scales: Scales = ("coarse",)
    survivors: Survivors | None = None  # instead: what suppression leaves of the boxes of all scales
    framing: Framing = CENTRED  # of every encoder's images: as the detector reads them
    coarse_side: PositiveInt | None = None  # cells of the coarse grid, to keep only what its teachers read


def extract_features(
    *,
    encoder: str,
    images: Path,
    image_root: Path,
    weights: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    detector: Path | None = None,
    device: Device = "auto",
) -> None:
    """Encode every image of a dataset with one frozen encoder.

    Args:
        encoder: "detector", the name of an expert, or "clip_crops", which looks at the detector's boxes.
        detector: The frozen detector, for clip_crops.
    """
    side = read_section(params, "detector.model.input_size", int)
    config = read_section(params, "extraction", ExtractionParams)
    hardware = pick_device(device)
    columns = ("image_id", "path", "width", "height")
    table = read_table(images, columns=columns, made_by="prepare")
    reader = ImageReader(
        table, root=image_root, side=side, framing=config.framing, cache_bytes=0, decoders=torch.get_num_threads()
    )
    if encoder == "detector":
        model = load_detector(weights, hardware)
        refuse_other_frame(model, side, config.framing, params)
        arrays = detector_arrays(model, config.box_scales, survivors=config.survivors, coarse_side=config.coarse_side)
    elif encoder == CLIP_CROPS:
        arrays = _crop_arrays(weights, detector, config.survivors, hardware)
    else:
        arrays = expert_arrays(load_expert(encoder, weights, hardware), coarse_side=config.coarse_side)

    def encode(image_ids: Sequence[int]) -> dict[str, np.ndarray]:
        return encode_squares(arrays, reader.squares(image_ids), hardware)

    facts: dict[str, Any] = {"framing": asdict(config.framing)}
    if encoder in ("detector", CLIP_CROPS) and config.survivors is not None:
        facts |= {"survivors": asdict(config.survivors)}
    checksum = file_sha256(weights / "model.safetensors")
    origins = [images, *([] if detector is None else [detector / "config.json"])]
    extract(
        table["image_id"].tolist(),
        encode,
        scratch=Path("scratch/extract_features") / run_key(encoder, *origins, checksum, side, config, threads=False),
        out=out,
        meta=facts | {"model": encoder, "weights_sha256": checksum, "input_size": side},
        batch_size=config.batch_size,
    )


def _crop_arrays(weights: Path, detector: Path | None, survivors: Survivors | None, device: torch.device) -> Arrays:
    """Of what CLIP sees in the boxes that suppression leaves.

    Raises:
        ConfigError: If there are no such boxes.
    """
    if detector is None or survivors is None:
        raise ConfigError(
            f"{CLIP_CROPS} looks at the boxes that suppression leaves. Name the frozen detector with --detector, and "
            "write extraction.survivors: {} in params.yaml"
        )
    return crop_arrays(load_crop_encoder(weights, device), load_detector(detector, device), survivors)


def refuse_other_frame(detector: Detector, side: int, framing: Framing, params: Path) -> None:
    """Stop where the square that all encoders are to share is not the detector's.

    Raises:
        ConfigError: Says what to write.
    """
    if (side, framing) != (detector.input_size, detector.framing):
        whole = ", ".join(f"{name}: {value}" for name, value in asdict(detector.framing).items())
        raise ConfigError(
            f"{params}: images come into a square of {side} pixels as {asdict(framing)}, but not the detector's. "
            f"Write detector.model.input_size: {detector.input_size} and extraction.framing: {{{whole}}}, then run: "
            "dvc repro"
        )


if __name__ == "__main__":
    run_stage(extract_features)
