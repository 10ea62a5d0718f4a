"""MobileSAM (Zhang et al. 2023): SAM's prompts and decoder behind a distilled TinyViT."""

from pathlib import Path

from jaxtyping import Float
from pydantic.dataclasses import dataclass
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.core.published import check_published, read_tensors, renamed
from models.segmenters import sam_prompts

INPUT_SIZE, GRID, PROMPT_WIDTH = 1024, 64, 256
UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")  # TinyViT's classes, which the release kept
TO_OURS = {  # the release's names; the downsampling that ends a layer there begins the next stage in timm
    r"^image_encoder\.patch_embed\.seq\.0\.": "image_encoder.trunk.patch_embed.conv1.",
    r"^image_encoder\.patch_embed\.seq\.2\.": "image_encoder.trunk.patch_embed.conv2.",
    r"^image_encoder\.layers\.0\.downsample\.": "image_encoder.trunk.stages.1.downsample.",
    r"^image_encoder\.layers\.1\.downsample\.": "image_encoder.trunk.stages.2.downsample.",
    r"^image_encoder\.layers\.2\.downsample\.": "image_encoder.trunk.stages.3.downsample.",
    r"^image_encoder\.layers\.": "image_encoder.trunk.stages.",
    r"^(image_encoder\.trunk\..*)\.c\.(weight)$": r"\1.conv.\2",
}


@dataclass(frozen=True, config=STRICT)
class MobileSAMConfig:
    """Sizes of the image encoder, of which one was published."""

    widths: tuple[int, int, int, int] = (64, 128, 160, 320)
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    heads: tuple[int, int, int, int] = (2, 4, 5, 10)
    windows: tuple[int, int, int, int] = (7, 7, 14, 7)


class MobileSAM(nn.Module):
    """A segmenter: image and boxes or points in, masks in stored pixels out."""

    Config = MobileSAMConfig
    labels = "mask"
    segment, segment_points, propose = sam_prompts.segment, sam_prompts.segment_points, sam_prompts.propose

    def __init__(self, config: MobileSAMConfig) -> None:
        super().__init__()
        prompts = PromptEncoder(
            embed_dim=PROMPT_WIDTH, image_embedding_size=(GRID, GRID), input_image_size=(INPUT_SIZE, INPUT_SIZE),
            mask_in_chans=16,
        )  # fmt: skip
        decoder = MaskDecoder(
            num_multimask_outputs=3, transformer_dim=PROMPT_WIDTH, iou_head_depth=3, iou_head_hidden_dim=PROMPT_WIDTH,
            transformer=TwoWayTransformer(depth=2, embedding_dim=PROMPT_WIDTH, num_heads=8, mlp_dim=2048),
        )  # fmt: skip
        self.sam = Sam(TinyViTEncoder(config), prompts, decoder)

    @staticmethod
    def read_published(path: Path) -> tuple[MobileSAMConfig, dict[str, Tensor]]:
        """State from the published file."""
        tensors = {name: tensor for name, tensor in read_tensors(path).items() if not name.startswith(UNUSED)}
        state = {f"sam.{name}": tensor for name, tensor in renamed(tensors, TO_OURS).items()}
        return MobileSAMConfig(), check_published(lambda: MobileSAM(MobileSAMConfig()), state, path=path)


class TinyViTEncoder(nn.Module):
    """timm's TinyViT but for its last downsampling, which keeps the grid, and SAM's neck."""

    img_size = INPUT_SIZE  # segment-anything's predictor asks for it

    def __init__(self, config: MobileSAMConfig) -> None:
        super().__init__()
        from timm.models.tiny_vit import TinyVit  # seconds, which no other model should pay

        self.trunk = TinyVit(
            num_classes=0, embed_dims=config.widths, depths=config.depths, num_heads=config.heads,
            window_sizes=config.windows, drop_path_rate=0.0,
        )  # fmt: skip
        self.trunk.head = nn.Identity()
        self.trunk.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.neck = nn.Sequential(
            nn.Conv2d(config.widths[-1], PROMPT_WIDTH, 1, bias=False),
            LayerNorm2d(PROMPT_WIDTH),
            nn.Conv2d(PROMPT_WIDTH, PROMPT_WIDTH, 3, padding=1, bias=False),
            LayerNorm2d(PROMPT_WIDTH),
        )

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 256 h w"]:
        """Standardised images to the map that prompts are asked of."""
        return self.neck(self.trunk.forward_features(images))
