"""The blocks that the released models share, as functions of their state dictionaries; nothing here is ours."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def affine(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def convolve(state: State, name: str, x: Tensor, **options: Any) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])


def darknet(state: State, name: str, x: Tensor, **options: Any) -> Tensor:
    return F.leaky_relu(batch_norm(state, f"{name}.batch_norm", convolve(state, f"{name}.conv", x, **options)), 0.1)


def released_norm(state: State, name: str, x: Tensor) -> Tensor:
    """Not LayerNorm: the unbiased deviation, and the small number added to it."""
    centred = x - x.mean(-1, keepdim=True)
    return state[f"{name}.weight"] * centred / (x.std(-1, keepdim=True) + 1e-6) + state[f"{name}.bias"]


def gru(state: State, name: str, x: Tensor) -> Tensor:
    """States of a GRU of one layer after each word."""
    hidden = x.new_zeros(len(x), state[f"{name}.weight_hh_l0"].shape[1])
    states = []
    for word in x.unbind(1):
        seen = F.linear(word, state[f"{name}.weight_ih_l0"], state[f"{name}.bias_ih_l0"]).chunk(3, 1)
        kept = F.linear(hidden, state[f"{name}.weight_hh_l0"], state[f"{name}.bias_hh_l0"]).chunk(3, 1)
        reset, update = (seen[0] + kept[0]).sigmoid(), (seen[1] + kept[1]).sigmoid()
        hidden = (1 - update) * (seen[2] + reset * kept[2]).tanh() + update * hidden
        states.append(hidden)
    return torch.stack(states, 1)


def text(state: State, tokens: Tensor, *, heads: int = 8) -> Tensor:
    """One vector per phrase: [phrases, width]."""
    prefix, is_pad = "lang_encoder", tokens == 0
    x = gru(state, f"{prefix}.lstm", state[f"{prefix}.embedding.weight"][tokens])
    layers = {name.split(".")[2] for name in state if name.startswith(f"{prefix}.sa_list.")}
    for number in sorted(layers):
        name = f"{prefix}.sa_list.{number}"
        query, key, value = (
            affine(state, f"{name}.mhatt.linear_{part}", x).unflatten(2, (heads, -1)).transpose(1, 2) for part in "qkv"
        )
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        weights = scores.masked_fill(is_pad[:, None, None], -1e9).softmax(-1)
        merged = affine(state, f"{name}.mhatt.linear_merge", (weights @ value).transpose(1, 2).flatten(2))
        x = released_norm(state, f"{name}.norm1", x + merged)
        hidden = affine(state, f"{name}.ffn.mlp.fc.linear", x).relu()
        x = released_norm(state, f"{name}.norm2", x + affine(state, f"{name}.ffn.mlp.linear", hidden))
    pooling = affine(state, f"{prefix}.att_flat.mlp.fc.linear", x).relu()
    scores = affine(state, f"{prefix}.att_flat.mlp.linear", pooling).masked_fill(is_pad[..., None], -1e9)
    return affine(state, f"{prefix}.att_flat.linear_merge", (scores.softmax(1) * x).sum(1))


def fusion(state: State, name: str, maps: list[Tensor], *, bilinear: bool = False) -> list[Tensor]:
    """Fine, middle and coarse map in, and out."""
    fine, middle, coarse = maps

    def grow(x: Tensor) -> Tensor:
        if bilinear:
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return F.interpolate(x, scale_factor=2, mode="nearest")

    def twice(part: str, x: Tensor) -> Tensor:
        return darknet(state, f"{name}.{part}.2", darknet(state, f"{name}.{part}.1", x), padding=1)

    middle = torch.cat([twice("up_modules.1", grow(coarse)), middle], 1)
    fine = torch.cat([twice("up_modules.0", grow(middle)), fine], 1)
    middle = torch.cat([twice("down_modules.0", F.avg_pool2d(fine, 2)), middle], 1)
    coarse = torch.cat([twice("down_modules.1", F.avg_pool2d(middle, 2)), coarse], 1)
    projections = (("bot_proj", fine), ("mid_proj", middle), ("top_proj", coarse))
    return [darknet(state, f"{name}.{part}", x) for part, x in projections]


def silu(state: State, name: str, x: Tensor, **options: Any) -> Tensor:
    return F.silu(batch_norm(state, f"{name}.bn", convolve(state, f"{name}.conv", x, **options)))


def csp_backbone(state: State, name: str, images: Tensor) -> list[Tensor]:
    """Fine, middle and coarse map of four stages: after modules 4, 6 and 9."""
    x, maps = silu(state, f"{name}.0", images, stride=2, padding=2), []
    for place in (2, 4, 6, 8):
        x = silu(state, f"{name}.{place - 1}", x, stride=2, padding=1)
        through, around = silu(state, f"{name}.{place}.cv1", x), silu(state, f"{name}.{place}.cv2", x)
        blocks = {key.split(".m.")[1].split(".")[0] for key in state if key.startswith(f"{name}.{place}.m.")}
        for block in sorted(blocks):
            hidden = silu(state, f"{name}.{place}.m.{block}.cv1", through)
            through = through + silu(state, f"{name}.{place}.m.{block}.cv2", hidden, padding=1)
        x = silu(state, f"{name}.{place}.cv3", torch.cat([through, around], 1))
        maps.append(x)
    x = silu(state, f"{name}.9.cv1", x)
    pooled = [F.max_pool2d(x, side, 1, side // 2) for side in (5, 9, 13)]
    return [maps[1], maps[2], silu(state, f"{name}.9.cv2", torch.cat([x, *pooled], 1))]


def darknet_backbone(state: State, name: str, images: Tensor) -> list[Tensor]:
    """Fine, middle and coarse map: after modules 6, 8 and 13."""
    x, maps = images, []
    for place in range(14):
        blocks = {
            key.split(".module_list.")[2].split(".")[0]
            for key in state
            if key.startswith(f"{name}.{place}.module_list.")
        }
        for block in sorted(blocks):
            inside = darknet(state, f"{name}.{place}.module_list.{block}.0", x)
            inside = darknet(state, f"{name}.{place}.module_list.{block}.1", inside, padding=1)
            x = inside if place == 11 else x + inside
        if not blocks:
            x = darknet(
                state, f"{name}.{place}", x, stride=2 if place in (1, 3, 5, 7, 9) else 1, padding=int(place != 12)
            )
        if place in (6, 8, 13):
            maps.append(x)
    return maps


def product(state: State, name: str, x: Tensor, phrase: Tensor) -> Tensor:
    def half(part: str, y: Tensor) -> Tensor:
        return F.leaky_relu(batch_norm(state, f"{name}.{part}.1", convolve(state, f"{name}.{part}.0", y)), 0.1)

    joined = half("v_proj", x) * half("q_proj", phrase[:, :, None, None])
    return F.leaky_relu(batch_norm(state, f"{name}.norm.0", joined), 0.1)


def attention(state: State, name: str, phrase: Tensor, x: Tensor, *, heads: int = 2) -> Tensor:
    """GaranAttention, whose last step puts columns where rows were."""
    batch, width, rows, columns = x.shape
    depth = width // heads
    query = affine(state, f"{name}.w_qs", phrase).view(batch * heads, 1, depth)
    collect, diffuse, value = (
        convolve(state, f"{name}.{part}", x).view(batch * heads, depth, rows * columns).transpose(1, 2)
        for part in ("w_kc", "w_kd", "w_vs")
    )
    gathered = torch.bmm((torch.bmm(query, collect.transpose(1, 2)) / depth**0.5).softmax(2), value)
    spread = torch.bmm((torch.bmm(diffuse, query.transpose(1, 2)) / depth**0.5).sigmoid(), gathered)
    swapped = (
        spread.view(batch, heads, rows, columns, depth).permute(0, 1, 4, 3, 2).reshape(batch, width, rows, columns)
    )
    return F.leaky_relu(batch_norm(state, f"{name}.layer_norm", convolve(state, f"{name}.w_o", swapped)) + x, 0.1)


def mask_head(state: State, name: str, x: Tensor) -> Tensor:
    """Logits at eight times the grid of `x`, the outermost cells' centres on the border."""
    branches = [darknet(state, f"{name}.conv0", x)]
    branches += [
        darknet(state, f"{name}.conv{number}", x, padding=rate, dilation=rate)
        for number, rate in ((1, 6), (2, 12), (3, 18))
    ]
    pooled = darknet(state, f"{name}.conv4", F.adaptive_avg_pool2d(x, 1))
    joined = torch.cat([*branches, pooled.expand_as(branches[0])], 1)
    logits = convolve(state, f"{name}.out_proj", joined)
    return F.interpolate(logits, scale_factor=8, mode="bilinear", align_corners=True)[:, 0]


def kept_cells(boxes: Tensor, count: int) -> Tensor:
    """The cells of highest mean objectness, in the order of the grid: [images, count]."""
    return boxes[..., 4].mean(2).topk(count, dim=1).indices.sort(1).values


def chosen_boxes(boxes: Tensor, cells: Tensor, scores: Tensor) -> Tensor:
    """Corners of the most confident box in the cell of the highest score: [phrases, 4]."""
    answers = []
    for row, cell in enumerate(cells.gather(1, scores.argmax(1, keepdim=True)).flatten().tolist()):
        inside = boxes[row, cell]
        x, y, width, height = inside[inside[:, 4].argmax(), :4].tolist()
        answers.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return torch.tensor(answers)
