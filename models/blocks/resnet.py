"""ResNet as DETR uses it: frozen BatchNorm, stem and first stage frozen; it needs pretrained weights to make sense.

RealGIN's released code trains the same network whole.
"""

from typing import Any, Literal

from pydantic.dataclasses import dataclass
from torch import nn

from deixis.core.config import STRICT
from deixis.core.frozen import freeze


@dataclass(frozen=True, config=STRICT)
class ResNetConfig:
    """Sizes; the defaults are ResNet-50."""

    block: Literal["basic", "bottleneck"] = "bottleneck"
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    stride: int = 32


def build_resnet(config: ResNetConfig, *, trains_whole: bool = False) -> nn.Module:
    """Build timm's network; its last map comes from `forward_features`, [batch, num_features, h, w].

    Args:
        trains_whole: Nothing is frozen, and BatchNorm counts batches.
    """
    # Here and not above: both imports take seconds, and a model of embedded scale does without.
    from timm.models.resnet import BasicBlock, Bottleneck, ResNet
    from torchvision.ops import FrozenBatchNorm2d

    class FrozenNorm(FrozenBatchNorm2d):
        """torchvision's, with the signature that timm calls."""

        def __init__(self, width: int, **_placement: Any) -> None:
            super().__init__(width)

    cnn = ResNet(
        {"basic": BasicBlock, "bottleneck": Bottleneck}[config.block], list(config.layers), channels=config.widths,
        output_stride=config.stride, num_classes=0, global_pool="",
        norm_layer=nn.BatchNorm2d if trains_whole else FrozenNorm, zero_init_last=False,
    )  # fmt: skip
    if not trains_whole:
        for part in (cnn.conv1, cnn.layer1):
            freeze(part)
    return cnn
