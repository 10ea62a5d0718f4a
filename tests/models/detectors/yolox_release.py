"""YOLOX as its authors publish it, norms unfolded: the names and shapes of a checkpoint, and what they compute.

Written from the published names and the released description, on plain torch. Blue, green, red levels come in; raw
values of three levels, fine to coarse, come out: box, objectness, classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-3
SIZES = {  # width, depth, depthwise
    "nano": (0.25, 0.33, True), "tiny": (0.375, 0.33, False), "s": (0.5, 0.33, False), "m": (0.75, 0.67, False),
    "l": (1.0, 1.0, False), "x": (1.25, 1.33, False),
}  # fmt: skip
Unit = tuple[str, int, int, int, int, int]  # name, inputs, outputs, kernel, stride, groups


def spatial(name: str, inputs: int, outputs: int, *, stride: int = 1, depthwise: bool) -> list[Unit]:
    if not depthwise:
        return [(name, inputs, outputs, 3, stride, 1)]
    return [(f"{name}.dconv", inputs, inputs, 3, stride, inputs), (f"{name}.pconv", inputs, outputs, 1, 1, 1)]


def cross_stage(name: str, inputs: int, outputs: int, count: int, *, depthwise: bool) -> list[Unit]:
    half = outputs // 2
    units: list[Unit] = [(f"{name}.conv{n}", inputs, half, 1, 1, 1) for n in (1, 2)]
    for number in range(count):
        units += [(f"{name}.m.{number}.conv1", half, half, 1, 1, 1)]
        units += spatial(f"{name}.m.{number}.conv2", half, half, depthwise=depthwise)
    return [*units, (f"{name}.conv3", 2 * half, outputs, 1, 1, 1)]


def units_of(size: str) -> list[Unit]:
    """Every convolution that a norm follows."""
    width, depth, depthwise = SIZES[size]
    base, blocks = int(64 * width), round(3 * depth)
    fine, middle, coarse = 4 * base, 8 * base, 16 * base
    units: list[Unit] = [("backbone.backbone.stem.conv", 12, base, 3, 1, 1)]
    for number, count in enumerate((blocks, 3 * blocks, 3 * blocks, blocks)):
        name, before = f"backbone.backbone.dark{number + 2}", base * 2**number
        units += spatial(f"{name}.0", before, 2 * before, stride=2, depthwise=depthwise)
        if number == 3:
            units += [(f"{name}.1.conv1", coarse, middle, 1, 1, 1), (f"{name}.1.conv2", 4 * middle, coarse, 1, 1, 1)]
        units += cross_stage(f"{name}.{2 if number == 3 else 1}", 2 * before, 2 * before, count, depthwise=depthwise)
    units += [("backbone.lateral_conv0", coarse, middle, 1, 1, 1), ("backbone.reduce_conv1", middle, fine, 1, 1, 1)]
    units += spatial("backbone.bu_conv2", fine, fine, stride=2, depthwise=depthwise)
    units += spatial("backbone.bu_conv1", middle, middle, stride=2, depthwise=depthwise)
    for name, before, after in (("C3_p4", 2 * middle, middle), ("C3_p3", middle, fine), ("C3_n3", middle, middle)):
        units += cross_stage(f"backbone.{name}", before, after, blocks, depthwise=depthwise)
    units += cross_stage("backbone.C3_n4", coarse, coarse, blocks, depthwise=depthwise)
    for level, before in enumerate((fine, middle, coarse)):
        units += [(f"head.stems.{level}", before, fine, 1, 1, 1)]
        for side in ("cls", "reg"):
            for number in range(2):
                units += spatial(f"head.{side}_convs.{level}.{number}", fine, fine, depthwise=depthwise)
    return units


class Release(nn.Module):
    """The released network; its state has the names of the authors' checkpoints."""

    def __init__(self, size: str, classes: int) -> None:
        super().__init__()
        self.size = size
        self.residual = ("backbone.backbone.dark2", "backbone.backbone.dark3", "backbone.backbone.dark4")
        self.parts: dict[str, nn.Module] = {}
        for name, inputs, outputs, kernel, stride, groups in units_of(size):
            conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
            self._put(f"{name}.conv", conv)
            self._put(f"{name}.bn", nn.BatchNorm2d(outputs, eps=NORM_EPS))
        inside = 4 * int(64 * SIZES[size][0])
        for level in range(3):
            for side, values in (("cls", classes), ("reg", 4), ("obj", 1)):
                self._put(f"head.{side}_preds.{level}", nn.Conv2d(inside, values, 1))

    def _put(self, name: str, part: nn.Module) -> None:
        place: nn.Module = self
        *folders, last = name.split(".")
        for folder in folders:
            if folder not in place._modules:
                place.add_module(folder, nn.Module())
            place = place.get_submodule(folder)
        place.add_module(last, part)
        self.parts[name] = part

    def unit(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.conv" not in self.parts:  # in two steps
            return self.unit(f"{name}.pconv", self.unit(f"{name}.dconv", x))
        normed = self.parts[f"{name}.bn"](self.parts[f"{name}.conv"](x))
        return normed * normed.sigmoid()

    def _two(self, name: str, x: Tensor) -> Tensor:
        return self.unit(f"{name}.1", self.unit(f"{name}.0", x))

    def cross_stage(self, name: str, x: Tensor) -> Tensor:
        through, around = self.unit(f"{name}.conv1", x), self.unit(f"{name}.conv2", x)
        number = 0
        while f"{name}.m.{number}.conv1.conv" in self.parts:
            out = self.unit(f"{name}.m.{number}.conv2", self.unit(f"{name}.m.{number}.conv1", through))
            through = through + out if name.startswith(self.residual) else out
            number += 1
        return self.unit(f"{name}.conv3", torch.cat((through, around), 1))

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What enters the head, fine to coarse."""
        x = torch.cat(
            (images[:, :, ::2, ::2], images[:, :, 1::2, ::2], images[:, :, ::2, 1::2], images[:, :, 1::2, 1::2]), 1
        )
        x = self.unit("backbone.backbone.stem.conv", x)
        found = []
        for number in (2, 3, 4):
            name = f"backbone.backbone.dark{number}"
            x = self.cross_stage(f"{name}.1", self.unit(f"{name}.0", x))
            found.append(x)
        x = self.unit("backbone.backbone.dark5.1.conv1", self.unit("backbone.backbone.dark5.0", x))
        x = torch.cat((x, *(F.max_pool2d(x, side, 1, side // 2) for side in (5, 9, 13))), 1)
        coarse = self.cross_stage("backbone.backbone.dark5.2", self.unit("backbone.backbone.dark5.1.conv2", x))
        _, fine, middle = found
        down = self.unit("backbone.lateral_conv0", coarse)
        joined = self.cross_stage("backbone.C3_p4", torch.cat((F.interpolate(down, scale_factor=2), middle), 1))
        further = self.unit("backbone.reduce_conv1", joined)
        one = self.cross_stage("backbone.C3_p3", torch.cat((F.interpolate(further, scale_factor=2), fine), 1))
        two = self.cross_stage("backbone.C3_n3", torch.cat((self.unit("backbone.bu_conv2", one), further), 1))
        three = self.cross_stage("backbone.C3_n4", torch.cat((self.unit("backbone.bu_conv1", two), down), 1))
        return one, two, three

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Raw values of each level."""
        out = []
        for level, x in enumerate(self.maps(images)):
            x = self.unit(f"head.stems.{level}", x)
            classes = self.parts[f"head.cls_preds.{level}"](self._two(f"head.cls_convs.{level}", x))
            beside = self._two(f"head.reg_convs.{level}", x)
            values = [self.parts[f"head.{side}_preds.{level}"](beside) for side in ("reg", "obj")]
            out.append(torch.cat((*values, classes), 1))
        return tuple(out)


def random_release(size: str = "nano", classes: int = 80) -> Release:
    """Seeded weights under which signals neither die nor explode, and norms that are no identity."""
    generator = torch.Generator().manual_seed(0)
    network = Release(size, classes).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif name.endswith(("running_var", "bn.weight")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        else:
            spread = 0.2 if tensor.dim() == 1 else 1.2 / tensor[0].numel() ** 0.5
            tensor.copy_(spread * torch.randn(tensor.shape, generator=generator))
    # levels up to 255 come in
    network.state_dict()["backbone.backbone.stem.conv.conv.weight"].div_(150)
    return network


def hollow_state(size: str, classes: int = 80) -> dict[str, Tensor]:
    """Names and shapes of a checkpoint, without room for numbers."""
    with torch.device("meta"):
        return Release(size, classes).state_dict()
