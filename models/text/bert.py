"""BERT (Devlin et al. 2019), with the parameter names of the published checkpoints.

transformers has it too and is the reference of its test; importing that takes six seconds in each process.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.published import check_published, count_layers, published_tensor, read_tensors, renamed
from deixis.language.text import PAD
from deixis.language.word_pieces import read_word_pieces

MAX_POSITIONS = 512
NORM_EPS = 1e-12
HEAD_WIDTH = 64  # of every size that BERT's authors published
TO_OURS = {r"^bert\.": "", r"\.LayerNorm\.gamma$": ".LayerNorm.weight", r"\.LayerNorm\.beta$": ".LayerNorm.bias"}


@dataclass(frozen=True, config=STRICT)
class BERTConfig:
    """Sizes; the defaults are bert-base-uncased."""

    vocabulary: int | None = 30522  # None: the training vocabulary, one id per word
    length: int = 20  # tokens, the first one included
    width: int = 768
    layers: int = 12
    heads: int = 12
    feedforward: int = 3072
    dropout: float = 0.1


class BERT(nn.Module):
    """Text encoder. `pooler` belongs to the checkpoints and is not read here."""

    def __init__(self, config: BERTConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config, config.vocabulary or len(vocabulary))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.layers))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(config.width, config.width)})
        self.apply(_initialise)

    @staticmethod
    def read_published(path: Path) -> tuple[BERTConfig, dict[str, Tensor]]:
        """Sizes and state from a published file, also with the older names of norms; pretraining heads are left out.

        How many heads the attention has, no tensor tells: the `config.json` beside the file does, and without one each
        head is as wide as in BERT.
        """
        tensors = renamed(read_tensors(path), TO_OURS)
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("cls.")}
        tensors.pop("embeddings.position_ids", None)
        words, width = published_tensor(tensors, "embeddings.word_embeddings.weight", path=path).shape
        inner = published_tensor(tensors, "encoder.layer.0.intermediate.dense.weight", path=path).shape[0]
        config = BERTConfig(
            vocabulary=words, width=width, layers=count_layers(tensors, "encoder.layer."),
            heads=_published_heads(path, width), feedforward=inner,
        )  # fmt: skip
        return config, check_published(lambda: BERT(config, ()), tensors, path=path)

    @staticmethod
    def read_vocabulary(path: Path) -> list[str]:
        """The `vocab.txt` beside a published file."""
        return read_word_pieces(path.parent)

    def forward(
        self, tokens: Int[Tensor, "batch length"], valid: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length width"]:
        """State of every token after the last layer; no token looks at one that is not valid."""
        states = self.embeddings(tokens)
        for layer in self.encoder["layer"]:
            states = layer(states, valid)
        return states


class Embeddings(nn.Module):
    """Word, place and segment; there is one segment here."""

    def __init__(self, config: BERTConfig, vocabulary: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, config.width, padding_idx=PAD)
        self.position_embeddings = nn.Embedding(MAX_POSITIONS, config.width)
        self.token_type_embeddings = nn.Embedding(2, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, length] -> [batch, length, width]."""
        place = self.position_embeddings.weight[: tokens.shape[1]] + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(self.word_embeddings(tokens) + place))


class Layer(nn.Module):
    """Attention and feedforward, each with a residual and a norm after it."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_dropout = config.dropout
        width = config.width
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")}),
                "output": AddAndNorm(width, width, config.dropout),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, config.feedforward)})
        self.output = AddAndNorm(config.feedforward, width, config.dropout)

    def forward(self, states: Tensor, valid: Tensor) -> Tensor:
        """[batch, length, width] in and out."""
        split = [
            self.attention["self"][name](states).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        ]
        dropout = self.attention_dropout if self.training else 0.0
        looked = F.scaled_dot_product_attention(*split, attn_mask=valid[:, None, None], dropout_p=dropout)
        states = self.attention["output"](looked.transpose(1, 2).flatten(2), states)
        return self.output(F.gelu(self.intermediate["dense"](states)), states)


class AddAndNorm(nn.Module):
    """A projection added to what was there before, normed."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, before: Tensor) -> Tensor:
        """[batch, length, inputs] and [batch, length, width] -> [batch, length, width]."""
        return self.LayerNorm(self.dropout(self.dense(hidden)) + before)


def _published_heads(path: Path, width: int) -> int:
    beside = path.parent / "config.json"
    stated: object = {}
    if beside.exists():
        with foreign_bytes(beside, "valid JSON", "Fetch it again"):
            stated = json.loads(beside.read_text(encoding="utf-8"))
    heads = stated.get("num_attention_heads", width // HEAD_WIDTH) if isinstance(stated, dict) else 0
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise DataError(f"{beside}: num_attention_heads is {heads!r}. Allowed: a divisor of {width}. Fetch it again")
    return heads


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        module.weight.normal_(std=0.02)
    if isinstance(module, nn.Linear):
        module.bias.zero_()
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight[module.padding_idx].zero_()
