"""Blocks that several published methods share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.batches.pooled import is_pooled, refuse_pooled
from deixis.training.repeated_batchnorm import RepeatedBatchNorm2d
from models.blocks.growth import convolve_grown


def conv_bn(
    channels_in: int,
    channels_out: int,
    kernel: int,
    *,
    stride: int = 1,
    activation: type[nn.Module] | None = None,
    bias: bool = False,
    norm: type[nn.BatchNorm2d] = nn.BatchNorm2d,
) -> nn.Sequential:
    """Convolution, BatchNorm, activation (default LeakyReLU 0.1), "same" padding for odd kernels.

    A bias has no effect before BatchNorm; some released models have one all the same.
    """
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=bias),
        norm(channels_out),
        nn.LeakyReLU(0.1) if activation is None else activation(),
    )


class InstanceNorm(nn.InstanceNorm2d):
    """Learned scale and shift behind it, and a right gradient of a single row, too.

    On a processor torch 2.15 reads the channels-last gradient of one row, and of no more, in the wrong order.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, input: Float[Tensor, "rows channels h w"]) -> Float[Tensor, "rows channels h w"]:
        """Normalise each channel of each row."""
        out = super().forward(input)
        if out.requires_grad and len(out) == 1:
            out.register_hook(Tensor.contiguous)
        return out


class MultiScaleFusion(nn.Module):
    """Top-down, then bottom-up fusion of three scales (RefCLIP `MultiScaleFusion`; SimREC has the same plan).

    Scales are ordered coarse, middle, fine; each is twice the side of the one before. Only the outputs named
    in `outputs` get a projection: the released models also build projections that nothing ever reads. Without a coarse
    or middle output there is no bottom-up path.

    Args:
        channels: Input channels of the coarse, middle and fine maps.
        hidden: Channels of every output; half of it goes through each lateral path.
        outputs: Which scales to project and return, a subset of `("coarse", "middle", "fine")`.
        upsampling: How coarse maps grow: `nearest` (RefCLIP) or `bilinear`, corners aligned (SimREC).
    """

    def __init__(
        self,
        channels: tuple[int, int, int],
        hidden: int,
        *,
        outputs: tuple[str, ...] = ("coarse", "middle", "fine"),
        upsampling: str = "nearest",
    ) -> None:
        super().__init__()
        coarse, middle, fine = channels
        half = hidden // 2
        self.outputs = outputs
        self.upsampling = upsampling
        norm = RepeatedBatchNorm2d if upsampling == "nearest" else nn.BatchNorm2d
        self.up_middle = nn.Sequential(conv_bn(coarse, half, 1, norm=norm), conv_bn(half, half, 3))
        self.up_fine = nn.Sequential(conv_bn(half + middle, half, 1, norm=norm), conv_bn(half, half, 3))
        if outputs != ("fine",):
            self.down_middle = nn.Sequential(conv_bn(half + fine, half, 1), conv_bn(half, half, 3))
            self.down_coarse = nn.Sequential(conv_bn(half + half + middle, half, 1), conv_bn(half, half, 3))
        widths = {"coarse": half + coarse, "middle": half + half + middle, "fine": half + fine}
        self.project = nn.ModuleDict({name: conv_bn(widths[name], hidden, 1) for name in outputs})

    def forward(
        self,
        coarse: Float[Tensor, "batch coarse_channels h w"],
        middle: Float[Tensor, "batch middle_channels 2*h 2*w"],
        fine: Float[Tensor, "batch fine_channels fine_h fine_w"],  # 4*h 4*w, or pooled to 2*h 2*w
    ) -> dict[str, Tensor]:
        """Fuse; return the requested scales by name, each [batch, hidden, height, width].

        A fine map that has been pooled to the middle one's side gives the same, but for an output on its own grid.

        Raises:
            ConfigError: If it has, and there is such an output.
        """
        middle_up = torch.cat([self._grow(coarse, self.up_middle), middle], 1)
        grown = self._grow(middle_up, self.up_fine)
        maps = {}
        if "fine" in self.outputs:
            refuse_pooled(coarse, fine, "a fusion that answers on the finest grid")
            maps["fine"] = torch.cat([grown, fine], 1)
        if self.outputs != ("fine",):
            small = fine if is_pooled(coarse, fine) else F.avg_pool2d(fine, 2)
            down = self.down_middle(torch.cat([F.avg_pool2d(grown, 2), small], 1))
            maps["middle"] = torch.cat([down, middle_up], 1)
            maps["coarse"] = torch.cat([self.down_coarse(F.avg_pool2d(maps["middle"], 2)), coarse], 1)
        return {name: self.project[name](maps[name]) for name in self.outputs}

    def _grow(self, x: Tensor, layers: nn.Sequential) -> Tensor:
        """`layers` on the map grown twofold, of which it grows as late as gives the same.

        Each value of a 1x1 convolution, BatchNorm and LeakyReLU is its own pixel's and its channel's statistics', so
        nearest growth may follow all three; bilinear growth may follow the convolution.
        """
        if self.upsampling == "nearest":
            convolution, norm, activation = layers[1]
            return activation(norm(convolve_grown(layers[0](x), convolution.weight)))
        (first, *norm), rest = layers[0], layers[1:]
        grown = F.interpolate(first(x), scale_factor=2.0, mode="bilinear", align_corners=True)
        return rest(nn.Sequential(*norm)(grown))
