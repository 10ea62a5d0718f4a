"""CLIP as TRIS and PCNet hold it: names and shapes, and what its towers say; small, but for the number of parts."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.releases import layouts, reference
from tests.models.releases.reference import State, affine, batch_norm, convolve

MERGES = ["#version: 0.2", "r e", "re d</w>", "b a", "l l</w>", "ba ll</w>"]
TOKENS = 512 + len(MERGES) - 1 + 2  # bytes, bytes that end a word, merged pieces, start and end
VISUAL, INNER, SHARED, LENGTH, LAYERS = 4, 64, 16, 20, 2  # 64, 512, 1024, 20 and 12 in the release


def write_merges(folder):
    (folder / "merges.txt").write_text("\n".join(MERGES) + "\n")
    return folder / "merges.txt"


def clip(name: str = "backbone") -> layouts.Shapes:
    """One block in each stage of the ResNet; 3, 4, 6 and 3 in the release."""
    text = {"token_embedding.weight": (TOKENS, INNER), "positional_embedding": (77, INNER), "logit_scale": ()}
    text |= {"text_projection": (INNER, SHARED), "ln_final.weight": (INNER,), "ln_final.bias": (INNER,)}
    shapes: layouts.Shapes = {f"{name}.{part}": shape for part, shape in text.items()}
    for number in range(LAYERS):
        block = f"{name}.transformer.resblocks.{number}."
        shapes |= {f"{block}attn.in_proj_weight": (3 * INNER, INNER), f"{block}attn.in_proj_bias": (3 * INNER,)}
        shapes |= layouts.linear(f"{block}attn.out_proj", INNER, INNER)
        shapes |= layouts.linear(f"{block}mlp.c_fc", INNER, 4 * INNER) | layouts.linear(
            f"{block}mlp.c_proj", 4 * INNER, INNER
        )
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}{norm}.weight": (INNER,), f"{block}{norm}.bias": (INNER,)}
    before, half = VISUAL, VISUAL // 2
    for number, (inputs, outputs) in enumerate(((3, half), (half, half), (half, VISUAL)), start=1):
        shapes |= layouts.conv(f"{name}.visual.conv{number}", inputs, outputs, 3, bias=False)
        shapes |= layouts.norm(f"{name}.visual.bn{number}", outputs)
    for stage in range(4):
        width, block = VISUAL * 2**stage, f"{name}.visual.layer{stage + 1}.0."
        for number, (inputs, outputs, kernel) in enumerate(
            ((before, width, 1), (width, width, 3), (width, 4 * width, 1)), start=1
        ):
            shapes |= layouts.conv(f"{block}conv{number}", inputs, outputs, kernel, bias=False)
            shapes |= layouts.norm(f"{block}bn{number}", outputs)
        shapes |= layouts.conv(f"{block}downsample.0", before, 4 * width, 1, bias=False)
        shapes |= layouts.norm(f"{block}downsample.1", 4 * width)
        before = 4 * width
    for part, outputs in (("k", before), ("q", before), ("v", before), ("c", SHARED)):
        shapes |= layouts.linear(f"{name}.visual.attnpool.{part}_proj", before, outputs)
    return shapes | {f"{name}.visual.attnpool.positional_embedding": (50, before)}


def prompt(name: str, width: int) -> layouts.Shapes:
    """bilateral_prompt."""
    shapes: layouts.Shapes = {}
    for part in ("v_proj1", "v_proj2", "v_proj3", "v_output"):
        shapes |= layouts.conv(f"{name}.{part}.0", width, width, 1)
        shapes |= {f"{name}.{part}.1.weight": (width,), f"{name}.{part}.1.bias": (width,)}
    for part in ("t_proj1", "t_proj2", "t_proj3", "t_output"):
        shapes |= layouts.linear(f"{name}.{part}.0", width, width)
    return shapes


def look(state: State, squares: Tensor, name: str = "backbone.visual") -> list[Tensor]:
    """Maps after the four stages, of levels from 0 to 255 that are standardised with ImageNet's values."""
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, maps = (squares / 255 - mean) / deviation, []
    for number in (1, 2, 3):
        x = convolve(state, f"{name}.conv{number}", x, stride=2 if number == 1 else 1, padding=1)
        x = batch_norm(state, f"{name}.bn{number}", x).relu()
    x = F.avg_pool2d(x, 2)
    for stage in range(1, 5):
        block = f"{name}.layer{stage}.0."
        y = batch_norm(state, f"{block}bn1", convolve(state, f"{block}conv1", x)).relu()
        y = batch_norm(state, f"{block}bn2", convolve(state, f"{block}conv2", y, padding=1)).relu()
        if stage > 1:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        around = batch_norm(state, f"{block}downsample.1", convolve(state, f"{block}downsample.0", x))
        x = (batch_norm(state, f"{block}bn3", convolve(state, f"{block}conv3", y)) + around).relu()
        maps.append(x)
    return maps


def read(state: State, tokens: Tensor, name: str = "backbone") -> tuple[Tensor, Tensor]:
    """States of all tokens, after the last norm, and the phrase's vector: that of its largest token, projected."""

    def norm(part: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"])

    x = state[f"{name}.token_embedding.weight"][tokens] + state[f"{name}.positional_embedding"][: tokens.shape[1]]
    later = torch.full((tokens.shape[1], tokens.shape[1]), -torch.inf).triu(1)
    for number in range(LAYERS):
        block = f"transformer.resblocks.{number}"
        weights = state[f"{name}.{block}.attn.in_proj_weight"].chunk(3)
        biases = state[f"{name}.{block}.attn.in_proj_bias"].chunk(3)
        y = norm(f"{block}.ln_1", x)
        query, key, value = (F.linear(y, weight, bias) for weight, bias in zip(weights, biases, strict=True))
        looked = (query @ key.transpose(1, 2) / INNER**0.5 + later).softmax(-1) @ value  # one head of width 64
        x = x + affine(state, f"{name}.{block}.attn.out_proj", looked)
        hidden = affine(state, f"{name}.{block}.mlp.c_fc", norm(f"{block}.ln_2", x))
        x = x + affine(state, f"{name}.{block}.mlp.c_proj", hidden * (1.702 * hidden).sigmoid())
    x = norm("ln_final", x)
    return x, x[torch.arange(len(tokens)), tokens.argmax(1)] @ state[f"{name}.text_projection"]


def layer(state: State, name: str, x: Tensor, *, relu: bool = True) -> Tensor:
    """A layer of bilateral_prompt: pixels [batch, width, h, w] with a norm per image and channel, or texts."""
    if x.dim() == 4:
        y = convolve(state, f"{name}.0", x)
        y = F.instance_norm(y, weight=state[f"{name}.1.weight"], bias=state[f"{name}.1.bias"])
    else:
        y = reference.affine(state, f"{name}.0", x)
    return y.relu() if relu else y
