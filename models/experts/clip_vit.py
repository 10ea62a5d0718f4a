"""CLIP's vision transformer (Radford et al. 2021), ViT-B/32 as DViN asks it: patch states of its last block.

DViN's release takes back the standardisation with ImageNet's mean and deviation before it standardises with CLIP's;
here images are standardised once, to the same values.
"""

from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.published import check_published, count_layers, published_tensor, renamed
from deixis.imaging.images import standardise
from models.blocks.clip_layout import read_clip
from models.experts.contrastive_vit import CLIP_MEAN, CLIP_STD

HEAD_WIDTH = 64  # of every published size
TO_OURS = {  # OpenAI's names, without `visual.`
    r"^class_embedding$": "cls_token",
    r"^positional_embedding$": "pos_embed",
    r"^conv1\.": "patch_embed.proj.",
    r"^ln_pre\.": "norm_pre.",
    r"^ln_post\.": "norm.",
    r"^transformer\.resblocks\.": "blocks.",
    r"\.ln_([12])\.": r".norm\1.",
    r"\.attn\.in_proj_": ".attn.qkv.",
    r"\.attn\.out_proj\.": ".attn.proj.",
    r"\.mlp\.c_fc\.": ".mlp.fc1.",
    r"\.mlp\.c_proj\.": ".mlp.fc2.",
}


@dataclass(frozen=True, config=STRICT)
class CLIPViTConfig:
    """Sizes; the defaults are ViT-B/32 on the teachers' 416-pixel input. OpenAI's weights: with QuickGELU."""

    input_size: int = 416
    patch: int = 32
    width: int = 768
    depth: int = 12
    heads: int = 12


class CLIPViT(nn.Module):
    """Squares in, one vector per patch out: before the final norm, class token dropped."""

    Config = CLIPViTConfig
    labels = "caption"

    def __init__(self, config: CLIPViTConfig) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer  # seconds, which no other model should pay

        self.config = config
        self.width = config.width
        self.vit = VisionTransformer(
            img_size=config.input_size, patch_size=config.patch, embed_dim=config.width, depth=config.depth,
            num_heads=config.heads, num_classes=0, pre_norm=True, norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer="quick_gelu",
        )  # fmt: skip

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """Patch states; images of another side are resized bilinearly first."""
        return self.vit.forward_intermediates(self._input(squares), indices=1, norm=False, intermediates_only=True)[0]

    def pooled(self, squares: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """Class token after the final norm, of levels from 0 to 255; a gradient may pass to them."""
        return self.vit.forward_features(self._input(squares))[:, 0]

    def _input(self, squares: Tensor) -> Tensor:
        images, side = standardise(squares, CLIP_MEAN, CLIP_STD), self.config.input_size
        if images.shape[-1] == side:
            return images
        return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)

    @staticmethod
    def read_published(path: Path, *, input_size: int = 416) -> tuple[CLIPViTConfig, dict[str, Tensor]]:
        """Sizes and state from a published CLIP, in transformers' or OpenAI's names; what is not vision is left out.

        Args:
            path: The file or its folder.
            input_size: Side that the positions are resized to.
        """
        whole = {name: tensor for name, tensor in read_clip(path).items() if name.startswith("visual.")}
        whole.pop("visual.proj", None)
        tensors = renamed({name.removeprefix("visual."): tensor for name, tensor in whole.items()}, TO_OURS)
        patches = published_tensor(tensors, "patch_embed.proj.weight", path=path)
        width, _, patch, _ = patches.shape
        config = CLIPViTConfig(
            input_size=input_size, patch=patch, width=width, depth=count_layers(tensors, "blocks."),
            heads=max(1, width // HEAD_WIDTH),
        )  # fmt: skip
        positions = published_tensor(tensors, "pos_embed", path=path)
        tensors["pos_embed"] = resize_positions(positions[None], input_size // patch, antialias=True)
        tensors["cls_token"] = published_tensor(tensors, "cls_token", path=path)[None, None]
        state = {f"vit.{name}": tensor for name, tensor in tensors.items()}
        return config, check_published(lambda: CLIPViT(config), state, path=path)


def resize_positions(
    table: Float[Tensor, "1 places width"], side: int, *, antialias: bool
) -> Float[Tensor, "1 new_places width"]:
    """A learned position table for another square grid, bicubic; the class token's, which is first, stays.

    PyTorch's bicubic kernel has another shape with `antialias`, also where a table grows: OpenCLIP resizes with it,
    DINOv2 without.
    """
    first, grid = table[:, :1], table[:, 1:]
    old = round(grid.shape[1] ** 0.5)
    if old == side:
        return table
    grid = grid.transpose(1, 2).unflatten(2, (old, old))
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False, antialias=antialias)
    return torch.cat([first, grid.flatten(2).transpose(1, 2)], 1)
