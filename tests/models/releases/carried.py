"""Names and shapes of the frozen experts that released checkpoints carry, one block deep; by their sources' names."""

from torch import Tensor

from tests.models.releases import layouts


def _norm(name: str, width: int) -> layouts.Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def clip_vit(name: str, width: int, *, patch: int = 32, grid: int = 2) -> layouts.Shapes:
    """CLIP's vision transformer, by transformers' names."""
    shapes: layouts.Shapes = {
        f"{name}.embeddings.class_embedding": (width,),
        f"{name}.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        f"{name}.embeddings.position_embedding.weight": (1 + grid**2, width),
    }
    layer = f"{name}.encoder.layers.0"
    for norm in (f"{name}.pre_layrnorm", f"{name}.post_layernorm", f"{layer}.layer_norm1", f"{layer}.layer_norm2"):
        shapes |= _norm(norm, width)
    for part in ("q", "k", "v", "out"):
        shapes |= layouts.linear(f"{layer}.self_attn.{part}_proj", width, width)
    return (
        shapes
        | layouts.linear(f"{layer}.mlp.fc1", width, 4 * width)
        | layouts.linear(f"{layer}.mlp.fc2", 4 * width, width)
    )


def vit(name: str, width: int, *, patch: int, places: int) -> layouts.Shapes:
    """A vision transformer by the names that DINOv2 and EfficientSAM share."""
    block = f"{name}.blocks.0"
    shapes = layouts.conv(f"{name}.patch_embed.proj", 3, width, patch) | {f"{name}.pos_embed": (1, places, width)}
    shapes |= layouts.linear(f"{block}.attn.qkv", width, 3 * width) | layouts.linear(f"{block}.attn.proj", width, width)
    shapes |= layouts.linear(f"{block}.mlp.fc1", width, 4 * width) | layouts.linear(
        f"{block}.mlp.fc2", 4 * width, width
    )
    return shapes | _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)


def dinov2(name: str, width: int) -> layouts.Shapes:
    shapes = vit(name, width, patch=14, places=1 + 4**2) | _norm(f"{name}.norm", width)
    shapes |= {f"{name}.cls_token": (1, 1, width), f"{name}.mask_token": (1, width)}
    return shapes | {f"{name}.blocks.0.ls{number}.gamma": (width,) for number in (1, 2)}


def efficient_sam(name: str, width: int, neck: int) -> layouts.Shapes:
    """Its image encoder, and a tensor of the decoder, which only training asked."""
    encoder = f"{name}.image_encoder"
    shapes = vit(encoder, width, patch=16, places=1 + 14**2) | {f"{name}.mask_decoder.iou_token.weight": (1, neck)}
    shapes |= layouts.conv(f"{encoder}.neck.0", width, neck, 1, bias=False) | _norm(f"{encoder}.neck.1", neck)
    return shapes | layouts.conv(f"{encoder}.neck.2", neck, neck, 3, bias=False) | _norm(f"{encoder}.neck.3", neck)


def clip_convnext(name: str, width: int, *, widths: tuple[int, ...] = (8, 8, 16, 16)) -> layouts.Shapes:
    """OpenCLIP's, with a head of two layers."""
    trunk, before = f"{name}.visual.trunk", widths[0]
    shapes = layouts.conv(f"{trunk}.stem.0", 3, before, 4) | _norm(f"{trunk}.stem.1", before)
    for stage, after in enumerate(widths):
        block = f"{trunk}.stages.{stage}.blocks.0"
        if stage:
            shapes |= _norm(f"{trunk}.stages.{stage}.downsample.0", before)
            shapes |= layouts.conv(f"{trunk}.stages.{stage}.downsample.1", before, after, 2)
        shapes |= {f"{block}.gamma": (after,), f"{block}.conv_dw.weight": (after, 1, 7, 7)}
        shapes |= {f"{block}.conv_dw.bias": (after,)} | _norm(f"{block}.norm", after)
        shapes |= layouts.linear(f"{block}.mlp.fc1", after, 4 * after)
        shapes |= layouts.linear(f"{block}.mlp.fc2", 4 * after, after)
        before = after
    shapes |= _norm(f"{trunk}.head.norm", before) | layouts.linear(f"{name}.visual.head.mlp.fc1", before, before)
    return shapes | {f"{name}.visual.head.mlp.fc2.weight": (width, before)}


def dvin_experts() -> dict[str, Tensor]:
    """The four of DViN, as wide as it expects them."""
    shapes = clip_vit("clip_model.vision_tower.vision_model", 768) | dinov2("dino_model", 768)
    return layouts.draw(shapes | efficient_sam("efficientsam", 64, 256) | clip_convnext("convnext_model", 768), seed=1)


def weakmcn_experts(distilled: int, segmentation: int) -> dict[str, Tensor]:
    """The two of WeakMCN."""
    return layouts.draw(dinov2("dino_model", distilled) | efficient_sam("efficientsam", 64, segmentation), seed=1)
