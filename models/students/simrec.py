"""SimREC (Luo et al. 2022): one-stage student. Phrase times picture at three scales, fused, one box per cell.

Left out because nothing reads them: the 26x26 and 52x52 output projections and GARAN's extra map convolution.
The published backbone is YOLOv5-L's (frozen but for its end) and takes pictures without normalisation.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Literal

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy, paired_iou
from deixis.core.config import STRICT
from deixis.types import Grounding, StudentBatch
from models.csp_darknet import CSPConfig, CSPDarkNet
from models.layers import MultiScaleFusion, conv_bn
from models.students.simota import assign
from models.text.gru_attention import GRUAttentionEncoder, TextConfig

SCALES = ("fine", "middle", "coarse")


@dataclass(frozen=True, config=STRICT)
class SimRECConfig:
    """Sizes; the defaults are the published model."""

    input_size: int = 416
    resize_sides: tuple[int, ...] = tuple(range(224, 609, 32))  # training draws one per step
    resize_mode: Literal["nearest", "bilinear"] = "bilinear"  # the release uses nearest
    backbone: CSPConfig = field(default_factory=CSPConfig)
    frozen_backbone: bool = False  # all but the last stage; needs pretrained weights to make sense
    fused_width: int = 512
    attention_heads: int = 2
    attention_orientation: Literal["correct", "transposed"] = "correct"  # the release swaps rows and columns
    head_width: int = 256
    text: TextConfig = field(default_factory=lambda: TextConfig(layers=1))


class SimREC(nn.Module):
    """Student: trains on one box per phrase, whoever drew it."""

    Config = SimRECConfig
    has_score = True

    def __init__(self, config: SimRECConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = list(vocabulary)
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        self.backbone = CSPDarkNet(config.backbone)
        width = config.fused_width
        self.merge = nn.ModuleDict(
            {
                name: TextProduct(channels, config.text.width, width)
                for name, channels in zip(SCALES, config.backbone.widths[-3:], strict=True)
            }
        )
        self.fusion = MultiScaleFusion((width,) * 3, width, outputs=("coarse",), upsampling="bilinear")
        self.attention = GlobalAttention(
            width, config.text.width, heads=config.attention_heads, orientation=config.attention_orientation
        )
        hidden = config.head_width
        self.head = nn.Sequential(
            conv_bn(width, hidden, 1, activation=nn.SiLU),
            conv_bn(hidden, hidden, 3, activation=nn.SiLU),
            conv_bn(hidden, hidden, 3, activation=nn.SiLU),
        )
        self.box = nn.Conv2d(hidden, 4, 1)
        self.objectness = nn.Conv2d(hidden, 1, 1)
        if config.frozen_backbone:
            self.backbone.freeze_all_but_last()

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {"box": 5.0, "objectness": 1.0}

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`box`: 1 - IoU^2 over assigned cells; `objectness`: BCE over all cells; both per assigned cell."""
        raw = self._forward(self._random_resize(batch.squares), batch)
        return detection_terms(raw, batch.boxes_norm, stride=self.config.backbone.stride, weight=batch.weights)

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """One group at the full learning rate."""
        return [([p for p in self.parameters() if p.requires_grad], 1.0)]

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """Box of the cell with the highest objectness; no suppression, no clipping."""
        raw = self._forward(batch.squares, batch)
        decoded = decode(raw, stride=self.config.backbone.stride)
        scores, cell = decoded[..., 4].max(1)
        boxes = decoded[torch.arange(len(cell), device=cell.device), cell, :4]
        return Grounding(boxes_xyxy=cxcywh_to_xyxy(boxes), scores=scores)

    def _random_resize(self, squares: Tensor) -> Tensor:
        sides = self.config.resize_sides
        side = sides[int(torch.randint(len(sides), ()))]
        if side == squares.shape[-1]:
            return squares
        smooth = (
            {"mode": "bilinear", "antialias": True} if self.config.resize_mode == "bilinear" else {"mode": "nearest"}
        )
        return F.interpolate(squares.float(), size=(side, side), **smooth)

    def _forward(self, squares: Tensor, batch: StudentBatch) -> Tensor:
        """Raw outputs per cell, row-major: [phrases, cells, 5]."""
        text = self.text_encoder(batch.tokens).flat
        images = (squares.float() / 255).contiguous(memory_format=torch.channels_last)
        seen = [x.index_select(0, batch.image_of) for x in self.backbone(images)]
        maps = {name: self.merge[name](x, text) for name, x in zip(SCALES, seen, strict=True)}
        fused = self.fusion(maps["coarse"], maps["middle"], maps["fine"])["coarse"]
        hidden = self.head(self.attention(fused, text))
        return torch.cat([self.box(hidden), self.objectness(hidden)], 1).flatten(2).transpose(1, 2)


def decode(raw: Float[Tensor, "batch cells 5"], *, stride: int) -> Float[Tensor, "batch cells 5"]:
    """cx, cy, w, h in input pixels and objectness; offsets count from the corner of the cell, without sigmoid."""
    side = round(raw.shape[1] ** 0.5)
    cells = torch.arange(raw.shape[1], device=raw.device)
    corner = torch.stack([cells % side, cells // side], -1).to(raw.dtype)
    centre = (raw[..., :2] + corner) * stride
    return torch.cat([centre, raw[..., 2:4].clamp(max=8).exp() * stride, raw[..., 4:].sigmoid()], -1)


def detection_terms(
    raw: Float[Tensor, "batch cells 5"],
    boxes_norm: Float[Tensor, "batch 4"],
    *,
    stride: int,
    weight: Float[Tensor, " batch"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Loss terms before their factors (5 and 1).

    Args:
        boxes_norm: cx, cy, w, h of each target over the side of the square.
        weight: Trust in each target; scales its objectness term only.
    """
    raw = raw.float()
    side = round(raw.shape[1] ** 0.5)
    target = boxes_norm * (side * stride)
    decoded = decode(raw, stride=stride)
    positive = assign(decoded[..., :4].detach(), target, stride=stride)
    count = positive.sum().clamp(min=1)
    row, cell = positive.nonzero(as_tuple=True)
    iou = paired_iou(cxcywh_to_xyxy(decoded[row, cell, :4]), cxcywh_to_xyxy(target[row]))
    entropy = F.binary_cross_entropy_with_logits(raw[..., 4], positive.to(raw.dtype), reduction="none")
    if weight is not None:
        entropy = entropy * weight[:, None]
    return {"box": (1 - iou.square()).sum() / count, "objectness": entropy.sum() / count}


class TextProduct(nn.Module):
    """Picture times phrase, each through a 1x1 convolution of its own."""

    def __init__(self, channels: int, text_width: int, width: int) -> None:
        super().__init__()
        self.image = conv_bn(channels, width, 1)
        self.text = conv_bn(text_width, width, 1)
        self.after = nn.Sequential(nn.BatchNorm2d(width), nn.LeakyReLU(0.1))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """[batch, channels, h, w] and [batch, text_width] -> [batch, width, h, w]."""
        return self.after(self.image(image) * self.text(text[:, :, None, None]))


class GlobalAttention(nn.Module):
    """GARAN: collect one vector per head from the whole map by the phrase, diffuse it to where the phrase fits.

    The released code adds the result with rows and columns swapped; `orientation="transposed"` keeps that.
    """

    def __init__(
        self, width: int, text_width: int, *, heads: int, orientation: str = "correct", dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.heads = heads
        self.orientation = orientation
        self.query = nn.Linear(text_width, width)
        self.collect_key, self.diffuse_key, self.value = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.activation = nn.LeakyReLU(0.1)

    def forward(self, x: Float[Tensor, "batch width h w"], text: Float[Tensor, "batch text_width"]) -> Tensor:
        """The map plus what the phrase brought to each place."""
        brought = self.attend(x, text)
        if self.orientation == "transposed":
            brought = brought.transpose(2, 3)
        return self.activation(self.output(brought) + x)

    def attend(self, x: Float[Tensor, "batch width h w"], text: Float[Tensor, "batch text_width"]) -> Tensor:
        """Gate times collected vector at each place, before the residual: [batch, width, h, w]."""
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
        return torch.einsum("bnp,bnd->bndp", gate, gathered).reshape(batch, width, height, columns)
