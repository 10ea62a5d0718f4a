"""TRIS (ICCV 2023), step 2: a segmentation network in which every pixel reads the words, trained on step 1's masks.

Pixel-word attention on three levels, a decoder that goes up through them, and four outputs that all learn the mask;
the finest answers. The published encoders are CLIP's; here they are the students' backbone and text encoder, and the
decoder starts at the backbone's coarse map. Padding is masked out of the words (the release reads it), and logits are
cut at zero (the release divides them by their maximum first, which turns an all-negative map into a full mask).
"""

from collections.abc import Sequence
from dataclasses import field
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.labelling.response_maps import box_holding
from deixis.training.resize import random_resize
from deixis.types import Grounding, StudentBatch
from models.student_blocks.one_stage import OneStageConfig, build_backbone, phrase_maps
from models.text.gru_attention import GRUAttentionEncoder, TextConfig, TextFeatures


@dataclass(frozen=True, config=STRICT)
class TRISSegmenterConfig(OneStageConfig):
    """Sizes; the defaults are the published ones, on SimREC's backbone, whose maps are half as fine as CLIP's."""

    backbone_factor: float = 0.1  # on the learning rate
    decoder_widths: tuple[int, int, int, int] = (512, 256, 128, 64)  # coarse, middle, fine, last
    input_size: int = 320
    resize_sides: tuple[int, ...] = (320,)  # the paper does not resize
    text: TextConfig = field(default_factory=TextConfig)


class TRISSegmenter(nn.Module):
    """Student: trains on one mask per phrase, whoever drew it; its box is that of the mask's part at the peak."""

    Config = TRISSegmenterConfig
    has_score = True
    needs_masks = True
    needs_candidates = False
    onnx_obstacle = "it finds its box by the connected parts of its mask, which is no operation of a graph"
    starts = ("backbone",)

    def __init__(self, config: TRISSegmenterConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.input_size = config.input_size
        self.text_encoder = GRUAttentionEncoder(config.text, vocabulary)
        self.backbone = build_backbone(config)
        channels = config.backbone.widths[:-4:-1]  # coarse, middle, fine
        self.attention = nn.ModuleList(PixelWordAttention(width, config.text.width) for width in channels)
        self.decoder = Decoder(channels, config.decoder_widths)

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {}

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`mask`: the sum of the four outputs' mean cross-entropies; labels without a mask are left out."""
        assert batch.masks is not None
        squares = random_resize(batch.squares, self.config.resize_sides, mode=self.config.resize_mode)
        drawn = batch.masks.flatten(1).any(1)
        side = squares.shape[-1]
        target = F.interpolate(batch.masks[:, None], size=(side, side), mode="area")[drawn, 0]
        return {"mask": mask_loss([x[drawn] for x in self._outputs(squares, batch)], target)}

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The backbone learns slower."""
        slow = [p for p in self.backbone.parameters() if p.requires_grad]
        new = [p for part in (self.text_encoder, self.attention, self.decoder) for p in part.parameters()]
        return [(slow, self.config.backbone_factor), ([p for p in new if p.requires_grad], 1.0)]

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """The finest output, its peak, and the box of what is connected with it."""
        logits = self._outputs(batch.squares, batch)[0]
        scores, place = logits.flatten(1).max(1)
        side = logits.shape[-1]
        points = torch.stack([place % side, place // side], 1)
        boxes = [
            box_holding(mask, (x, y)) or (x, y, x, y)  # nothing is drawn: a box without area
            for mask, (x, y) in zip((logits > 0).cpu().numpy(), points.tolist(), strict=True)
        ]
        return Grounding(
            boxes_xyxy=torch.tensor(boxes, dtype=torch.float32, device=logits.device),
            scores=scores.sigmoid(),
            masks=logits.sigmoid(),
            points_xy=points.float() + 0.5,
        )

    def _outputs(self, squares: Tensor, batch: StudentBatch) -> list[Float[Tensor, "phrases side side"]]:
        """Logits over the input, finest first."""
        text = self.text_encoder(batch.tokens)
        maps = phrase_maps(self.backbone, squares, batch.image_of)[::-1]
        read = [x + attend(x, text) for attend, x in zip(self.attention, maps, strict=True)]
        size = squares.shape[-2:]
        return [F.interpolate(x.float(), size=size, mode="bilinear")[:, 0] for x in self.decoder(read)]


def mask_loss(
    outputs: Sequence[Float[Tensor, "phrases side side"]], target: Float[Tensor, "phrases side side"]
) -> Float[Tensor, ""]:
    """Sum over outputs of the mean cross-entropy with the share of each pixel that the mask covers."""
    if not len(target):
        return torch.stack([x.sum() for x in outputs]).sum()  # zero, with a gradient to nobody
    return torch.stack([F.binary_cross_entropy_with_logits(x, target) for x in outputs]).sum()


class PixelWordAttention(nn.Module):
    """Each pixel reads the words that concern it, and is gated by what it read (LAVT)."""

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Conv2d(width, width, 1), nn.InstanceNorm2d(width, affine=True))
        self.key, self.value = nn.Linear(text_width, width), nn.Linear(text_width, width)
        self.gate = nn.Sequential(nn.Conv2d(width, width, 1), nn.InstanceNorm2d(width, affine=True))
        self.look = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
        self.output = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())

    def forward(self, x: Float[Tensor, "phrases width h w"], text: TextFeatures) -> Float[Tensor, "phrases width h w"]:
        """The update, not yet added."""
        reads = torch.einsum("bchw,blc->bhwl", self.query(x), self.key(text.words)) / x.shape[1] ** 0.5
        weights = reads.masked_fill(_no_word(text.is_pad)[:, None, None], -torch.inf).softmax(-1)
        attended = torch.einsum("bhwl,blc->bchw", weights, self.value(text.words))
        return self.output(self.look(x) * self.gate(attended))


def _no_word(is_pad: Bool[Tensor, "phrases length"]) -> Bool[Tensor, "phrases length"]:
    """Padding; a phrase of padding alone keeps its first place, so that its softmax has something to share."""
    first = torch.arange(is_pad.shape[1], device=is_pad.device) == 0
    return is_pad & ~(is_pad.all(1, keepdim=True) & first)


class Decoder(nn.Module):
    """Up from the coarse map; at each finer one, its own features are added.

    Args:
        channels: Of the coarse, middle and fine maps.
        widths: Of what each is reduced to, and of the last layer.
    """

    def __init__(self, channels: Sequence[int], widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(_layer(c, w) for c, w in zip(channels, widths[:3], strict=True))
        self.grow = nn.ModuleList(_layer(a, b) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(
            nn.Sequential(_layer(width, width), nn.Conv2d(width, 1, 1, bias=False)) for width in widths
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Float[Tensor, "phrases 1 h w"]]:
        """Logits of four outputs, finest first."""
        x = self.reduce[0](maps[0])
        outputs = [self.heads[0](x)]
        for level, finer in enumerate(maps[1:], start=1):
            x = F.interpolate(self.grow[level - 1](x), size=finer.shape[-2:], mode="bilinear")
            x = x + self.reduce[level](finer)
            outputs.append(self.heads[level](x))
        outputs.append(self.heads[3](self.grow[2](x)))
        return outputs[::-1]


def _layer(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.PReLU()
    )
