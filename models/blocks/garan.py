"""Blocks that read a phrase into a feature map: its product with the map, and global attention (GARAN)."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.blocks.layers import conv_bn

Orientation = Literal["correct", "transposed"]


class TextProduct(nn.Module):
    """Image times phrase, each through a 1x1 convolution of its own."""

    def __init__(self, channels: int, text_width: int, width: int, *, bias: bool = False) -> None:
        super().__init__()
        self.image = conv_bn(channels, width, 1, bias=bias)
        self.text = conv_bn(text_width, width, 1, bias=bias)
        self.after = nn.Sequential(nn.BatchNorm2d(width), nn.LeakyReLU(0.1))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """[batch, channels, h, w] and [batch, text_width] -> [batch, width, h, w]."""
        return self.after(self.image(image) * self.text(text[:, :, None, None]))


class Attended(NamedTuple):
    """What global attention makes of a map."""

    map: Float[Tensor, "batch width h w"]
    logits: Float[Tensor, "batch h*w"]  # where the phrase collected from, before the softmax; mean over the heads


class GlobalAttention(nn.Module):
    """GARAN: collect one vector per head from the whole map by the phrase, diffuse it to where the phrase fits.

    Args:
        orientation: The released code of SimREC adds the result with rows and columns swapped; `transposed` keeps that.
        has_projection: A 1x1 convolution before the normalisation, and the residual after it (SimREC, MCN's port);
            without it the normalised sum of both (RealGIN).
        bias: Of that convolution, as some released models have it.
    """

    def __init__(
        self,
        width: int,
        text_width: int,
        *,
        heads: int,
        orientation: Orientation = "correct",
        has_projection: bool = True,
        bias: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.orientation = orientation
        self.has_projection = has_projection
        self.query = nn.Linear(text_width, width)
        self.collect_key, self.diffuse_key, self.value = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        projection = [nn.Conv2d(width, width, 1, bias=bias)] if has_projection else []
        self.output = nn.Sequential(*projection, nn.BatchNorm2d(width))
        self.activation = nn.LeakyReLU(0.1)

    def forward(self, x: Float[Tensor, "batch width h w"], text: Float[Tensor, "batch text_width"]) -> Attended:
        """The map plus what the phrase brought to each place."""
        brought, logits = self.attend(x, text)
        if self.orientation == "transposed":
            brought = brought.transpose(2, 3)
        attended = self.output(brought) + x if self.has_projection else self.output(brought + x)
        return Attended(self.activation(attended), logits)

    def attend(
        self, x: Float[Tensor, "batch width h w"], text: Float[Tensor, "batch text_width"]
    ) -> tuple[Float[Tensor, "batch width h w"], Float[Tensor, "batch h*w"]]:
        """Gate times collected vector at each place, before the residual; and the collecting logits."""
        batch, width, height, columns = x.shape
        depth = width // self.heads

        def split(y: Tensor) -> Tensor:
            return y.reshape(batch, self.heads, depth, height * columns)

        query = self.query(text).view(batch, self.heads, depth)
        temperature = depth**0.5
        collect = torch.einsum("bnd,bndp->bnp", query, split(self.collect_key(x))) / temperature
        diffuse = torch.einsum("bnd,bndp->bnp", query, split(self.diffuse_key(x))) / temperature
        weights, gate = self.dropout(collect.softmax(-1)), self.dropout(diffuse.sigmoid())
        gathered = torch.einsum("bnp,bndp->bnd", weights, split(self.value(x)))
        brought = torch.einsum("bnp,bnd->bndp", gate, gathered).reshape(batch, width, height, columns)
        return brought, collect.mean(1)
