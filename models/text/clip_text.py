"""CLIP's text transformer (Radford et al. 2021), as TRIS and PCNet read phrases: the state of the last token.

transformers has it too and is the reference of its test; importing that takes six seconds in each process.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.core.published import check_published, count_layers, published_tensor, renamed
from deixis.language.text import PAD
from deixis.language.word_pieces import read_byte_pairs
from models.blocks.clip_layout import read_clip

HEAD_WIDTH = 64  # of every published size
TO_OURS = {  # OpenAI's names
    r"^positional_embedding$": "positions",
    r"^token_embedding\.": "embedding.",
    r"^ln_final\.": "norm.",
    r"^text_projection$": "project.weight",
    r"^transformer\.resblocks\.": "layers.",
    r"\.attn\.": ".self_attn.",
    r"\.ln_([12])\.": r".norm\1.",
    r"\.mlp\.c_fc\.": ".linear1.",
    r"\.mlp\.c_proj\.": ".linear2.",
}


@dataclass(frozen=True, config=STRICT)
class CLIPTextConfig:
    """Sizes; the defaults are the text tower of CLIP's ResNet-50 (ViT-B/32's has width 512)."""

    kind: Literal["clip_text"] = "clip_text"  # tells it from a GRU
    length: int = 20  # tokens, the first and last one included; longer phrases are cut
    width: int = 1024  # of phrases, in the space shared with images
    inner_width: int = 512
    layers: int = 12
    heads: int = 8
    tokens: int = 49408
    positions: int = 77


class CLIPPhrases(NamedTuple):
    """One vector per phrase, in the shared space, and one state per token, before the projection."""

    flat: Float[Tensor, "batch width"]
    words: Float[Tensor, "batch length inner"]
    is_pad: Bool[Tensor, "batch length"]


class CLIPText(nn.Module):
    """Ids of byte pairs to features."""

    Config = CLIPTextConfig

    def __init__(self, config: CLIPTextConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = list(vocabulary)  # see deixis/language/word_pieces.py
        width = config.inner_width
        self.embedding = nn.Embedding(config.tokens, width)
        self.positions = nn.Parameter(0.01 * torch.randn(config.positions, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, config.heads, 4 * width, dropout=0.0, activation=quick_gelu, batch_first=True, norm_first=True
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, config.width, bias=False)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> CLIPPhrases:
        """Encode phrases. No token sees a later one, so what pads a phrase says nothing to it.

        The phrase is its last token, which has the largest id of all: one that was cut off is not found.
        """
        length = tokens.shape[1]
        states = self.embedding(tokens) + self.positions[:length]
        later = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        for layer in self.layers:
            states = layer(states, src_mask=later)
        words = self.norm(states)
        last = words[torch.arange(len(tokens), device=tokens.device), tokens.argmax(1)]
        return CLIPPhrases(self.project(last), words, tokens == PAD)

    @staticmethod
    def read_published(path: Path) -> tuple[CLIPTextConfig, dict[str, Tensor]]:
        """Sizes and state from a published CLIP, in transformers' or OpenAI's names; what is not text is left out."""
        whole = {name: tensor for name, tensor in read_clip(path).items() if not name.startswith("visual.")}
        whole.pop("logit_scale", None)
        tensors = renamed(whole, TO_OURS)
        count, inner = published_tensor(tensors, "embedding.weight", path=path).shape
        projection = published_tensor(tensors, "project.weight", path=path)
        tensors["project.weight"] = projection.T.contiguous()
        config = CLIPTextConfig(
            width=projection.shape[1], inner_width=inner, layers=count_layers(tensors, "layers."),
            heads=inner // HEAD_WIDTH, tokens=count,
            positions=published_tensor(tensors, "positions", path=path).shape[0],
        )  # fmt: skip
        return config, check_published(lambda: CLIPText(config, ()), tensors, path=path)

    @staticmethod
    def read_vocabulary(path: Path) -> list[str]:
        """The `merges.txt` beside a published file."""
        return read_byte_pairs(path.parent)


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI's approximation of GELU, which its weights were trained with."""
    return x * torch.sigmoid(1.702 * x)
