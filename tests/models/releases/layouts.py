"""Names and shapes of released checkpoints, written out from their sources, and random values for them."""

import math

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
ANNOTATIONS = {
    "train": [
        {"refs": ["Red ball!", "the left-star"]}
    ],  # not the order of the model's words: splits come first to last
    "val": [{"refs": ["star on the/ball"]}, {"refs": ["big star"]}],
}
# What it numbers: words as they first appear, also those of val.
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "red", "ball", "the", "left", "star", "on", "big"]


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def conv(name: str, inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (outputs, inputs, kernel, kernel)}
    return shapes | ({f"{name}.bias": (outputs,)} if bias else {})


def norm(name: str, width: int) -> Shapes:
    values = {f"{name}.{value}": (width,) for value in ("weight", "bias", "running_mean", "running_var")}
    return values | {f"{name}.num_batches_tracked": ()}


def darknet(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    """A convolution without bias and its BatchNorm, as the family names them."""
    return conv(f"{name}.conv", inputs, outputs, kernel, bias=False) | norm(f"{name}.batch_norm", outputs)


def text(*, words: int, word_width: int, width: int, feedforward: int, layers: int) -> Shapes:
    shapes: Shapes = {
        "lang_encoder.embedding.weight": (words, word_width),
        "lang_encoder.lstm.weight_ih_l0": (3 * width, word_width), "lang_encoder.lstm.bias_ih_l0": (3 * width,),
        "lang_encoder.lstm.weight_hh_l0": (3 * width, width), "lang_encoder.lstm.bias_hh_l0": (3 * width,),
    }  # fmt: skip
    for number in range(layers):
        name = f"lang_encoder.sa_list.{number}."
        for part in ("v", "k", "q", "merge"):
            shapes |= linear(f"{name}mhatt.linear_{part}", width, width)
        shapes |= linear(f"{name}ffn.mlp.fc.linear", width, feedforward)
        shapes |= linear(f"{name}ffn.mlp.linear", feedforward, width)
        for part in ("norm1", "norm2"):
            shapes |= {f"{name}{part}.weight": (width,), f"{name}{part}.bias": (width,)}
    shapes |= linear("lang_encoder.att_flat.mlp.fc.linear", width, width // 2)
    shapes |= linear("lang_encoder.att_flat.mlp.linear", width // 2, 1)
    return shapes | linear("lang_encoder.att_flat.linear_merge", width, width)


def fusion(name: str, channels: tuple[int, int, int], width: int) -> Shapes:
    """Of the fine, middle and coarse maps."""
    fine, middle, coarse = channels
    half, shapes = width // 2, {}
    for part, inputs in (
        ("up_modules.0", middle + half), ("up_modules.1", coarse), ("down_modules.0", half + fine),
        ("down_modules.1", width + middle),
    ):  # fmt: skip
        shapes |= darknet(f"{name}.{part}.1", inputs, half, 1) | darknet(f"{name}.{part}.2", half, half, 3)
    for part, inputs in (("top_proj", coarse + half), ("mid_proj", middle + width), ("bot_proj", fine + half)):
        shapes |= darknet(f"{name}.{part}", inputs, width, 1)
    return shapes


def product(name: str, inputs: int, text_width: int, width: int) -> Shapes:
    """SimpleFusion: its convolutions have a bias before BatchNorm."""
    shapes = conv(f"{name}.v_proj.0", inputs, width, 1) | norm(f"{name}.v_proj.1", width)
    shapes |= conv(f"{name}.q_proj.0", text_width, width, 1) | norm(f"{name}.q_proj.1", width)
    return shapes | norm(f"{name}.norm.0", width)


def attention(name: str, text_width: int, width: int) -> Shapes:
    """GaranAttention; nothing reads `w_m`."""
    shapes = linear(f"{name}.w_qs", text_width, width) | conv(f"{name}.w_m", width, 1, 3)
    for part in ("w_kc", "w_kd", "w_vs", "w_o"):
        shapes |= conv(f"{name}.{part}", width, width, 1)
    return shapes | norm(f"{name}.layer_norm", width)


def mask_head(name: str, inputs: int, width: int) -> Shapes:
    """The pyramid that ends in one channel."""
    shapes = conv(f"{name}.out_proj", 5 * width, 1, 1)
    for number, kernel in enumerate((1, 3, 3, 3, 1)):
        shapes |= darknet(f"{name}.conv{number}", inputs, width, kernel)
    return shapes


def darknet_backbone(name: str, *, stem: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> Shapes:
    """DarkNet-53 and the beginning of YOLOv3: a list in which each strided convolution has a number, and its blocks."""

    def block(place: str, width: int, count: int) -> Shapes:
        shapes: Shapes = {}
        for number in range(count):
            shapes |= darknet(f"{place}.module_list.{number}.0", width, width // 2, 1)
            shapes |= darknet(f"{place}.module_list.{number}.1", width // 2, width, 3)
        return shapes

    shapes, before = darknet(f"{name}.0", 3, stem, 3), stem
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        shapes |= darknet(f"{name}.{2 * stage + 1}", before, width, 3) | block(f"{name}.{2 * stage + 2}", width, count)
        before = width
    shapes |= block(f"{name}.11", before, 2) | darknet(f"{name}.12", before, before // 2, 1)
    return shapes | darknet(f"{name}.13", before // 2, before, 3)


def silu(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    """ConvBnAct and BaseConv."""
    return conv(f"{name}.conv", inputs, outputs, kernel, bias=False) | norm(f"{name}.bn", outputs)


def csp_backbone(name: str, *, stem: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> Shapes:
    """YOLOv5's: a stem, a strided convolution and a C3 per stage, SPPF."""
    shapes, before = silu(f"{name}.0", 3, stem, 6), stem
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        cross, half = f"{name}.{2 * stage + 2}", width // 2
        shapes |= silu(f"{name}.{2 * stage + 1}", before, width, 3)
        shapes |= silu(f"{cross}.cv1", width, half, 1) | silu(f"{cross}.cv2", width, half, 1)
        shapes |= silu(f"{cross}.cv3", width, width, 1)
        for block in range(count):
            shapes |= silu(f"{cross}.m.{block}.cv1", half, half, 1) | silu(f"{cross}.m.{block}.cv2", half, half, 3)
        before = width
    pyramid = f"{name}.{2 * len(widths) + 1}"
    return shapes | silu(f"{pyramid}.cv1", before, before // 2, 1) | silu(f"{pyramid}.cv2", 2 * before, before, 1)


def draw(shapes: Shapes, *, seed: int = 0) -> dict[str, Tensor]:
    """Values under which signals neither die nor explode, no bias is zero and no norm the identity."""
    generator = torch.Generator().manual_seed(seed)

    def value(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            return 0.7 + 0.6 * torch.rand(shape, generator=generator)
        values = torch.randn(shape, generator=generator)
        if "embedding" in name:
            return values
        return values * (0.1 if len(shape) < 2 else 1.4 / math.sqrt(math.prod(shape[1:])))

    return {name: value(name, shape) for name, shape in shapes.items()}
