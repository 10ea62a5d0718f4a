"""DINOv2's vision transformer (Oquab et al. 2024), ViT-B/14 as DViN and WeakMCN ask it: normed patch states."""

import re
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.published import check_published, count_layers, published_tensor, read_tensors, renamed
from deixis.imaging.images import standardise
from models.experts.clip_vit import resize_positions

HEAD_WIDTH = 64  # of every published size
INPUT_SIZE = 364  # 26 patches: the teachers' 416 pixels have 26 cells of 16
TO_OFFICIAL = {  # transformers' names
    r"^embeddings\.cls_token$": "cls_token",
    r"^embeddings\.mask_token$": "mask_token",
    r"^embeddings\.position_embeddings$": "pos_embed",
    r"^embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"^encoder\.layer\.": "blocks.",
    r"^layernorm\.": "norm.",
    r"\.attention\.attention\.": ".attn.",
    r"\.attention\.output\.dense\.": ".attn.proj.",
    r"\.layer_scale([12])\.lambda1$": r".ls\1.gamma",
}


@dataclass(frozen=True, config=STRICT)
class DINOv2ViTConfig:
    """Sizes; the defaults are the base model on the teachers' input resized to 364 pixels."""

    input_size: int = INPUT_SIZE
    patch: int = 14
    width: int = 768
    depth: int = 12
    heads: int = 12


class DINOv2ViT(nn.Module):
    """Squares in, one vector per patch out: after the final norm, class token dropped."""

    Config = DINOv2ViTConfig
    labels = "none"

    def __init__(self, config: DINOv2ViTConfig) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer  # seconds, which no other model should pay

        self.config = config
        self.width = config.width
        self.vit = VisionTransformer(
            img_size=config.input_size, patch_size=config.patch, embed_dim=config.width, depth=config.depth,
            num_heads=config.heads, num_classes=0, init_values=1.0,
        )  # fmt: skip

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """Patch states; images of another side are resized bilinearly first."""
        images, side = standardise(squares), self.config.input_size
        if images.shape[-1] != side:
            images = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
        return self.vit.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)[0]

    @staticmethod
    def read_published(path: Path) -> tuple[DINOv2ViTConfig, dict[str, Tensor]]:
        """Sizes and state from transformers' or the official names; the token of masked training is left out."""
        tensors = _official(read_tensors(path))
        tensors.pop("mask_token", None)
        width, _, patch, _ = published_tensor(tensors, "patch_embed.proj.weight", path=path).shape
        config = DINOv2ViTConfig(
            patch=patch, width=width, depth=count_layers(tensors, "blocks."), heads=max(1, width // HEAD_WIDTH)
        )
        positions = published_tensor(tensors, "pos_embed", path=path)
        tensors["pos_embed"] = resize_positions(positions, config.input_size // patch, antialias=False)
        state = {f"vit.{name}": tensor for name, tensor in tensors.items()}
        return config, check_published(lambda: DINOv2ViT(config), state, path=path)


def _official(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official names, where query, key and value are one matrix."""
    tensors = renamed(tensors, TO_OFFICIAL)
    for name in [name for name in tensors if re.search(r"\.attn\.query\.(weight|bias)$", name)]:
        parts = [tensors.pop(name.replace(".query.", f".{part}."), None) for part in ("query", "key", "value")]
        if all(part is not None for part in parts):  # a part that is missing shows as a missing whole
            tensors[name.replace(".query.", ".qkv.")] = torch.cat(parts)
    return tensors
