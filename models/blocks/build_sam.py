"""Segment-anything's own modules, assembled at any size."""

from pydantic.dataclasses import dataclass
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from deixis.core.config import STRICT


@dataclass(frozen=True, config=STRICT)
class SmallSAMConfig:
    """Sizes; the defaults are SAM ViT-B's."""

    input_size: int = 1024
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    prompt_width: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_feedforward: int = 2048


def build_sam(config: SmallSAMConfig) -> Sam:
    """Assemble segment-anything's modules."""
    grid = config.input_size // config.patch
    encoder = ImageEncoderViT(
        img_size=config.input_size, patch_size=config.patch, embed_dim=config.width, depth=config.depth,
        num_heads=config.heads, mlp_ratio=4, out_chans=config.prompt_width, qkv_bias=True, use_rel_pos=True,
        window_size=config.window, global_attn_indexes=config.global_blocks,
    )  # fmt: skip
    prompts = PromptEncoder(
        embed_dim=config.prompt_width, image_embedding_size=(grid, grid),
        input_image_size=(config.input_size, config.input_size), mask_in_chans=16,
    )  # fmt: skip
    transformer = TwoWayTransformer(
        depth=config.decoder_depth, embedding_dim=config.prompt_width, num_heads=config.decoder_heads,
        mlp_dim=config.decoder_feedforward,
    )  # fmt: skip
    decoder = MaskDecoder(
        num_multimask_outputs=3, transformer=transformer, transformer_dim=config.prompt_width,
        iou_head_depth=3, iou_head_hidden_dim=config.prompt_width,
    )  # fmt: skip
    return Sam(encoder, prompts, decoder)
