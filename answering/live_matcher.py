"""A teacher of boxes over frozen encoders that look at images when first asked about, without feature stores."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from answering.live_store import Arrays, LiveStore, crop_arrays, detector_arrays, expert_arrays
from deixis.anchors import Survivors
from deixis.imaging.images import ImageReader
from deixis.labelling.matching import Matcher
from deixis.roles import Detector, Weigher, stored_experts
from deixis.types import CLIP_CROPS
from models.frozen.experts import load_expert
from models.image_text.crops import load_crop_encoder


def encoder_arrays(
    teacher: Weigher, detector: Detector, weights: Path, device: torch.device, *, survivors: Survivors | None
) -> dict[str, Arrays]:
    """What a teacher reads of its frozen encoders, by name: the detector, and its experts from their folders."""
    arrays = {"detector": detector_arrays(detector, teacher.box_scales, survivors=survivors)}
    for name in stored_experts(teacher):
        if name == CLIP_CROPS:
            assert survivors is not None  # or the teacher could not have been made
            arrays[name] = crop_arrays(load_crop_encoder(weights / name, device), detector, survivors)
        else:
            arrays[name] = expert_arrays(load_expert(name, weights / name, device))
    return arrays


def survivors_of(card: Mapping[str, Any]) -> Survivors | None:
    """How the candidates of a teacher's training were chosen, by its card; None: by the papers' rule."""
    rule = card.get("survivors")
    return None if rule is None else TypeAdapter(Survivors).validate_python(rule)


def live_matcher(
    teacher: Weigher,
    arrays: Mapping[str, Arrays],
    images: ImageReader,
    image_ids: Iterable[int],
    *,
    batch_size: int,
    device: torch.device,
) -> Matcher:
    """A teacher over encoders that look at an image when it is first asked about; experts only at those routed to."""
    stores = {name: LiveStore(of_image, images, device) for name, of_image in arrays.items()}
    letterboxes = {image_id: images.letterbox(image_id) for image_id in image_ids}
    return Matcher(teacher, stores, letterboxes, batch_size, device)
