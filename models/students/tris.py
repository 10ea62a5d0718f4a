"""TRIS (ICCV 2023), step 2: a segmentation network in which every pixel reads the words, trained on step 1's masks.

Pixel-word attention on three levels, a decoder that goes up through them, and four outputs that all learn the mask;
the finest answers. By default the encoders are the students' backbone and text encoder, the decoder starts at the
backbone's coarse map, and padding is masked out of the words. On CLIP's towers (`backbone: {kind: clip_resnet}` and
`text: {kind: clip_text}`) it is the published network: a finer level more, outputs narrower inside, padding read,
images stretched. Logits are cut at zero (the release divides them by their maximum first, which turns an all-negative
map into a full mask).
"""

from collections.abc import Sequence
from dataclasses import field

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.labelling.response_maps import box_holding
from deixis.training.ranks import gathered
from deixis.training.resize import draw_side, resized
from deixis.types import Grounding, StudentBatch
from models.backbones.clip_resnet import CLIPResNet, CLIPResNetConfig
from models.blocks.csp_darknet import CSPConfig, as_input
from models.blocks.darknet import DarkNetConfig
from models.student_blocks.mask_decoder import Decoder, PixelWordAttention, PublishedDecoder
from models.student_blocks.one_stage import OneStageConfig, build_backbone, phrase_maps, training_maps
from models.text.clip_text import CLIPText, CLIPTextConfig
from models.text.gru_attention import GRUAttentionEncoder, TextConfig


@dataclass(frozen=True, config=STRICT)
class TRISSegmenterConfig(OneStageConfig):
    """Sizes; the defaults are the published ones, on SimREC's backbone, whose maps are half as fine as CLIP's."""

    backbone_factor: float = 0.1  # on the learning rate
    decoder_widths: tuple[int, int, int, int] = (512, 256, 128, 64)  # coarse, middle, fine, last
    published_widths: tuple[int, int, int, int, int] = (512, 256, 128, 64, 32)  # on CLIP's towers: coarse to fine, last
    published_heads: tuple[int, int, int, int] = (64, 64, 32, 32)  # inside the outputs
    input_size: int = 320
    resize_sides: tuple[int, ...] = (320,)  # the paper does not resize
    backbone: CSPConfig | DarkNetConfig | CLIPResNetConfig = field(default_factory=CSPConfig)
    text: TextConfig | CLIPTextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        if self.is_published != isinstance(self.text, CLIPTextConfig):
            raise ConfigError(
                "tris: one of backbone and text is CLIP's. Allowed: both (kind: clip_resnet and clip_text) or none. "
                "Fix params.yaml, then run: dvc repro"
            )

    @property
    def is_published(self) -> bool:
        """Whether it is the published network, on CLIP's towers."""
        return isinstance(self.backbone, CLIPResNetConfig)


class TRISSegmenter(nn.Module):
    """Student: trains on one mask per phrase, whoever drew it; its box is that of the mask's part at the peak."""

    Config = TRISSegmenterConfig
    has_score = True
    needs_masks = True
    needs_candidates = False
    onnx_obstacle = "it finds its box by the connected parts of its mask, which is no operation of a graph"

    def __init__(self, config: TRISSegmenterConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.input_size = config.input_size
        self.stretch = published = config.is_published
        self.text_encoder = (CLIPText if published else GRUAttentionEncoder)(config.text, vocabulary)
        self.backbone = CLIPResNet(config.backbone) if published else build_backbone(config)
        channels = config.map_widths[::-1]  # coarse to fine
        words = config.text.inner_width if published else config.text.width
        self.attention = nn.ModuleList(PixelWordAttention(c, words, reads_padding=published) for c in channels[:3])
        if published:
            self.decoder = PublishedDecoder(channels, config.published_widths, config.published_heads)
        else:
            self.decoder = Decoder(channels[:3], config.decoder_widths)

    @property
    def starts(self) -> tuple[str, ...]:
        """Pretrained parts: the students' backbone, or CLIP's towers."""
        return ("clip_resnet", "clip_text") if self.stretch else ("backbone",)

    @property
    def clip_resnet(self) -> nn.Module:
        """The tower that looks, by the name of its import."""
        return self.backbone

    @property
    def clip_text(self) -> nn.Module:
        """The tower that reads."""
        return self.text_encoder

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {}

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`mask`: the sum of the four outputs' mean cross-entropies; labels without a mask are left out."""
        assert batch.masks is not None
        side = draw_side(self.config.resize_sides)
        drawn = batch.masks.flatten(1).any(1)
        target = F.interpolate(batch.masks[:, None], size=(side, side), mode="area")[drawn, 0]
        outputs = self._outputs(self._look_resized(batch, side), batch, side)
        return {"mask": mask_loss(*gathered(([x[drawn] for x in outputs], target)))}

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """What starts pretrained learns slower: the backbone, and CLIP's text tower with it."""
        pretrained = [self.backbone, *([self.text_encoder] if self.stretch else [])]
        slow = [p for part in pretrained for p in part.parameters() if p.requires_grad]
        new = [
            p
            for part in (self.text_encoder, self.attention, self.decoder)
            if part not in pretrained
            for p in part.parameters()
        ]
        return [(slow, self.config.backbone_factor), ([p for p in new if p.requires_grad], 1.0)]

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """The finest output, its peak, and the box of what is connected with it."""
        logits = self._outputs(self._look(batch.squares), batch, batch.squares.shape[-1])[0]
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

    def _look_resized(self, batch: StudentBatch, side: int) -> Sequence[Tensor]:
        if self.stretch:
            return self._look(resized(batch.squares, side, mode=self.config.resize_mode))
        return training_maps(self.backbone, batch, self.config, side=side)

    def _look(self, squares: Tensor) -> Sequence[Tensor]:
        """Maps of each image, fine to coarse."""
        return (self.backbone.stage_maps if self.stretch else self.backbone)(as_input(squares))

    def _outputs(
        self, maps: Sequence[Tensor], batch: StudentBatch, side: int
    ) -> list[Float[Tensor, "phrases side side"]]:
        """Logits over the input of `side` pixels, finest first."""
        text = self.text_encoder(batch.tokens)
        levels = phrase_maps(maps, batch.image_of, coordinates=self.config.coordinates)[::-1]
        read = [x + attend(x, text) for attend, x in zip(self.attention, levels, strict=False)]
        outputs = self.decoder([*read, *levels[len(read) :]])
        return [F.interpolate(x.float(), size=(side, side), mode="bilinear")[:, 0] for x in outputs]


def mask_loss(
    outputs: Sequence[Float[Tensor, "phrases side side"]], target: Float[Tensor, "phrases side side"]
) -> Float[Tensor, ""]:
    """Sum over outputs of the mean cross-entropy with the share of each pixel that the mask covers."""
    if not len(target):
        return torch.stack([x.sum() for x in outputs]).sum()  # zero, with a gradient to nobody
    return torch.stack([F.binary_cross_entropy_with_logits(x, target) for x in outputs]).sum()
