"""The papers' sizes, and tiny ones for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deixis.language.text import SPECIAL
from models.blocks.build_sam import SmallSAMConfig
from models.blocks.csp_darknet import CSPConfig
from models.blocks.resnet import ResNetConfig
from models.detectors.yolov3 import YOLOv3Config
from models.experts.clip_convnext import CLIPConvNeXtConfig
from models.experts.clip_vit import CLIPViTConfig
from models.experts.dinov2_vit import DINOv2ViTConfig
from models.experts.efficient_sam_vit import EfficientSAMViTConfig
from models.students.simrec import SimRECConfig
from models.students.transvg import TransVGConfig
from models.text.bert import BERTConfig
from models.text.gru_attention import TextConfig


@dataclass(frozen=True)
class Sizes:
    """What networks are built from.

    Attributes:
        experts: Each by its name, in the order of the router.
        channels: Of each expert's map.
        segmenter: What draws masks.
        students: SimREC and TransVG by name.
        teacher: What RefCLIP and DViN have other than published.
        words: Of the vocabulary.
    """

    detector: YOLOv3Config
    experts: Mapping[str, Any]
    channels: Mapping[str, int]
    segmenter: SmallSAMConfig
    students: Mapping[str, Any]
    teacher: Mapping[str, Any] = field(default_factory=dict)
    words: int = 10_000

    @property
    def vocabulary(self) -> list[str]:
        """Made-up words."""
        return [*SPECIAL, *(f"word{number}" for number in range(self.words))]


PAPER = Sizes(
    YOLOv3Config(),
    {
        "contrastive_vit": CLIPViTConfig(),
        "distilled_vit": DINOv2ViTConfig(),
        "segmentation_vit": EfficientSAMViTConfig(),
        "contrastive_convnet": CLIPConvNeXtConfig(),
    },
    {"contrastive_vit": 768, "distilled_vit": 768, "segmentation_vit": 256, "contrastive_convnet": 768},
    SmallSAMConfig(),
    {"simrec": SimRECConfig(resize_sides=(416,)), "transvg": TransVGConfig()},
)
TINY = {"width": 16, "depth": 1, "heads": 2}
TINY_SAM = SmallSAMConfig(
    input_size=64, prompt_width=16, global_blocks=(0,), window=0, decoder_heads=2, decoder_feedforward=16, **TINY
)
TINY_TEXT = TextConfig(length=15, word_width=8, width=16, heads=2, feedforward=16, layers=1, pool_hidden=8, dropout=0.0)
SMALL = Sizes(
    YOLOv3Config(input_size=64, num_classes=2, stem=4, widths=(8, 8, 16, 16, 32), blocks=(1, 1, 1, 1, 1)),
    {
        "contrastive_vit": CLIPViTConfig(input_size=64, patch=16, **TINY),
        "distilled_vit": DINOv2ViTConfig(input_size=56, patch=14, **TINY),
        "segmentation_vit": EfficientSAMViTConfig(patch=16, neck_width=16, **TINY),
        "contrastive_convnet": CLIPConvNeXtConfig(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), hidden=16, width=16),
    },
    {name: 16 for name in PAPER.experts},
    TINY_SAM,
    {
        "simrec": SimRECConfig(
            input_size=64, resize_sides=(64,), backbone=CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1)),
            fused_width=16, head_width=8, text=TINY_TEXT,
        ),
        "transvg": TransVGConfig(
            input_size=128, width=16, heads=2, feedforward=16, visual_layers=1, joint_layers=1,
            cnn=ResNetConfig(block="basic", layers=(1, 1, 1, 1), widths=(8, 8, 8, 8)),
            text=BERTConfig(vocabulary=None, length=15, width=16, layers=1, heads=2, feedforward=16),
        ),
    },
    {
        "detector_channels": (32, 16, 16), "fused_width": 16, "joint_width": 8, "text": TINY_TEXT,
        "keep_fraction": 1.0,
    },
    words=100,
)  # fmt: skip
