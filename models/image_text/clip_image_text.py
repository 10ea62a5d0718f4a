"""Published CLIP with both towers: what TRIS asks whether a masked image still says a phrase."""

from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path

from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.published import check_published, published_tensor
from deixis.language.word_pieces import read_byte_pairs
from models.blocks.clip_layout import read_clip
from models.experts.clip_vit import CLIPViT, CLIPViTConfig
from models.text.clip_text import CLIPText, CLIPTextConfig


@dataclass(frozen=True, config=STRICT)
class CLIPImageTextConfig:
    """Sizes; the defaults are ViT-B/32, on its own 224 pixels."""

    image: CLIPViTConfig = field(default_factory=lambda: CLIPViTConfig(input_size=224))
    text: CLIPTextConfig = field(default_factory=lambda: CLIPTextConfig(width=512))


class CLIPImageText(nn.Module):
    """Images and phrases in one space, both of unit length."""

    Config = CLIPImageTextConfig
    kind = "clip_image_text"  # in its folder's config.json

    def __init__(self, config: CLIPImageTextConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.side = config.image.input_size
        self.expert = CLIPViT(config.image)
        self.image_project = nn.Linear(config.image.width, config.text.width, bias=False)
        self.text_encoder = CLIPText(config.text, vocabulary)

    def images(self, squares: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """Embed images with levels from 0 to 255, resized as TRIS does; a gradient may pass to them."""
        resized = F.interpolate(squares, (self.side, self.side), mode="bilinear", align_corners=True)
        return F.normalize(self.image_project(self.expert.pooled(resized)), dim=-1)

    def texts(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch width"]:
        """Embed phrases, given in byte pairs."""
        return F.normalize(self.text_encoder(tokens).flat, dim=-1)

    @staticmethod
    def read_published(path: Path) -> tuple[CLIPImageTextConfig, dict[str, Tensor]]:
        """Sizes and state from a published CLIP, in transformers' or OpenAI's names."""
        default = CLIPImageTextConfig()
        image, image_state = CLIPViT.read_published(path, input_size=default.image.input_size)
        text, text_state = CLIPText.read_published(path)
        project = published_tensor(read_clip(path), "visual.proj", path=path)
        state = {f"expert.{name}": tensor for name, tensor in image_state.items()}
        state |= {"image_project.weight": project.T.contiguous()}
        state |= {f"text_encoder.{name}": tensor for name, tensor in text_state.items()}
        config = replace(default, image=image, text=text)
        return config, check_published(lambda: CLIPImageText(config, ()), state, path=path)

    @staticmethod
    def read_vocabulary(path: Path) -> list[str]:
        """The `merges.txt` beside a published file."""
        return read_byte_pairs(path.parent)
