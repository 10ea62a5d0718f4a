"""The parts of YOLOX: convolutions with a bias, into which their BatchNorm is folded, in the published arrangement.

Modules are made in the order in which the published network runs them: an ONNX export lists its convolutions so.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Levels = tuple[Tensor, Tensor, Tensor]  # fine, middle, coarse


class ConvSiLU(nn.Module):
    """Convolution with "same" padding and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h / stride, w / stride]."""
        return F.silu(self.conv(x), inplace=True)


class DepthwiseConv(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution of all."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = ConvSiLU(inputs, inputs, 3, stride, groups=inputs)
        self.pconv = ConvSiLU(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h / stride, w / stride]."""
        return self.pconv(self.dconv(x))


def spatial_conv(inputs: int, outputs: int, *, stride: int = 1, depthwise: bool) -> nn.Module:
    """A 3x3 convolution, in two steps where so configured."""
    return DepthwiseConv(inputs, outputs, stride) if depthwise else ConvSiLU(inputs, outputs, 3, stride)


class Bottleneck(nn.Module):
    """1x1, 3x3, plus the input in the backbone."""

    def __init__(self, width: int, *, residual: bool, depthwise: bool) -> None:
        super().__init__()
        self.residual = residual
        self.conv1 = ConvSiLU(width, width, 1)
        self.conv2 = spatial_conv(width, width, depthwise=depthwise)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        out = self.conv2(self.conv1(x))
        return out + x if self.residual else out


class CrossStage(nn.Module):
    """Half the channels go through bottlenecks, half around them."""

    def __init__(self, inputs: int, outputs: int, count: int, *, residual: bool = True, depthwise: bool) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1, self.conv2 = ConvSiLU(inputs, half, 1), ConvSiLU(inputs, half, 1)
        blocks = (Bottleneck(half, residual=residual, depthwise=depthwise) for _ in range(count))
        self.m = nn.Sequential(*blocks)
        self.conv3 = ConvSiLU(2 * half, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h, w]."""
        through, around = self.conv1(x), self.conv2(x)
        return self.conv3(torch.cat([self.m(through), around], 1))


class SpatialPyramid(nn.Module):
    """Max-pools of sides 5, 9 and 13 beside the map itself. Three of side 5 in a row give the same, faster."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvSiLU(width, width // 2, 1)
        self.conv2 = ConvSiLU(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        maps = [self.conv1(x)]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], 5, 1, 2))
        return self.conv2(torch.cat(maps, 1))


class Focus(nn.Module):
    """Every second pixel: four half-size images, joined by channels."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = ConvSiLU(12, outputs, 3)

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Tensor:
        """Upper left, lower left, upper right, lower right pixels of each square of four."""
        parts = [images[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(parts, 1))


class Backbone(nn.Module):
    """CSPDarkNet: a stem and four strided stages, of which the last three are read."""

    def __init__(self, width: float, depth: float, *, depthwise: bool) -> None:
        super().__init__()
        base, count = int(width * 64), max(round(depth * 3), 1)
        self.stem = Focus(base)

        def stage(inputs: int, blocks: int) -> nn.Sequential:
            down = spatial_conv(inputs, 2 * inputs, stride=2, depthwise=depthwise)
            return nn.Sequential(down, CrossStage(2 * inputs, 2 * inputs, blocks, depthwise=depthwise))

        self.dark2, self.dark3, self.dark4 = stage(base, count), stage(2 * base, 3 * count), stage(4 * base, 3 * count)
        self.dark5 = nn.Sequential(
            spatial_conv(8 * base, 16 * base, stride=2, depthwise=depthwise),
            SpatialPyramid(16 * base),
            CrossStage(16 * base, 16 * base, count, residual=False, depthwise=depthwise),
        )

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Levels:
        """Maps at strides 8, 16 and 32."""
        return self.all_levels(images)[2:]

    def all_levels(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Maps at strides 2, 4, 8, 16 and 32."""
        stem = self.stem(images)
        finest = self.dark2(stem)
        fine = self.dark3(finest)
        middle = self.dark4(fine)
        return stem, finest, fine, middle, self.dark5(middle)


class Pyramid(nn.Module):
    """PAFPN: coarse maps down to finer ones, and back up."""

    def __init__(self, width: float, depth: float, *, depthwise: bool) -> None:
        super().__init__()
        fine, middle, coarse = (int(width * channels) for channels in (256, 512, 1024))
        count = round(3 * depth)
        self.backbone = Backbone(width, depth, depthwise=depthwise)

        def join(inputs: int, outputs: int) -> CrossStage:
            return CrossStage(inputs, outputs, count, residual=False, depthwise=depthwise)

        self.lateral_conv0 = ConvSiLU(coarse, middle, 1)
        self.C3_p4 = join(2 * middle, middle)
        self.reduce_conv1 = ConvSiLU(middle, fine, 1)
        self.C3_p3 = join(2 * fine, fine)
        self.bu_conv2 = spatial_conv(fine, fine, stride=2, depthwise=depthwise)
        self.C3_n3 = join(2 * fine, middle)
        self.bu_conv1 = spatial_conv(middle, middle, stride=2, depthwise=depthwise)
        self.C3_n4 = join(2 * middle, coarse)

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Levels:
        """Maps at strides 8, 16 and 32."""
        return self.fuse(*self.backbone(images))

    def fuse(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Levels:
        """The backbone's maps at these strides, each with what the others know."""
        from_coarse = self.lateral_conv0(coarse)
        joined = self.C3_p4(torch.cat([_grow(from_coarse), middle], 1))
        from_middle = self.reduce_conv1(joined)
        fine = self.C3_p3(torch.cat([_grow(from_middle), fine], 1))
        middle = self.C3_n3(torch.cat([self.bu_conv2(fine), from_middle], 1))
        return fine, middle, self.C3_n4(torch.cat([self.bu_conv1(middle), from_coarse], 1))


class Head(nn.Module):
    """Decoupled: classes on one side, box and objectness on the other; raw outputs of each level."""

    def __init__(self, width: float, classes: int, *, depthwise: bool) -> None:
        super().__init__()
        inside = int(256 * width)

        def two() -> nn.Sequential:
            return nn.Sequential(*(spatial_conv(inside, inside, depthwise=depthwise) for _ in range(2)))

        self.stems = nn.ModuleList(ConvSiLU(int(channels * width), inside, 1) for channels in (256, 512, 1024))
        self.cls_convs = nn.ModuleList(two() for _ in range(3))
        self.cls_preds = nn.ModuleList(nn.Conv2d(inside, classes, 1) for _ in range(3))
        self.reg_convs = nn.ModuleList(two() for _ in range(3))
        self.reg_preds = nn.ModuleList(nn.Conv2d(inside, 4, 1) for _ in range(3))
        self.obj_preds = nn.ModuleList(nn.Conv2d(inside, 1, 1) for _ in range(3))

    def forward(self, maps: Levels) -> list[Float[Tensor, "batch values h w"]]:
        """Of each level: box (4), objectness (1) and classes, before any decoding."""
        return [self.level(number, x) for number, x in enumerate(maps)]

    def level(self, number: int, x: Tensor) -> Tensor:
        """Raw outputs of one level, in the published order of execution."""
        x = self.stems[number](x)
        classes = self.cls_preds[number](self.cls_convs[number](x))
        beside = self.reg_convs[number](x)
        return torch.cat([self.reg_preds[number](beside), self.obj_preds[number](beside), classes], 1)


def _grow(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
