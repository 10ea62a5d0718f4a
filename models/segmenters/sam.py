"""SAM (Kirillov et al. 2023) as released: ViT-B, -L or -H, built by segment-anything itself."""

from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass
from segment_anything import sam_model_registry
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.core.published import check_published, published_tensor, read_tensors
from models.segmenters import sam_prompts

SIZES = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}  # by the width of the image encoder


@dataclass(frozen=True, config=STRICT)
class SAMConfig:
    """Which of the three."""

    size: Literal["vit_b", "vit_l", "vit_h"] = "vit_h"


class SAM(nn.Module):
    """A segmenter: image and boxes or points in, masks in stored pixels out."""

    Config = SAMConfig
    labels = "mask"
    segment, segment_points, propose = sam_prompts.segment, sam_prompts.segment_points, sam_prompts.propose

    def __init__(self, config: SAMConfig) -> None:
        super().__init__()
        self.sam = sam_model_registry[config.size]()

    @staticmethod
    def read_published(path: Path) -> tuple[SAMConfig, dict[str, Tensor]]:
        """Size and state from the published file; the width of its image encoder tells which of the three it is."""
        tensors = read_tensors(path)
        width = published_tensor(tensors, "image_encoder.pos_embed", path=path).shape[-1]
        if width not in SIZES:
            known = ", ".join(f"{name} ({size})" for size, name in SIZES.items())
            raise DataError(f"{path}: an image encoder of width {width}. Allowed: {known}. Fetch one of those files")
        config = SAMConfig(size=SIZES[width])
        state = {f"sam.{name}": tensor for name, tensor in tensors.items()}
        return config, check_published(lambda: SAM(config), state, path=path)
