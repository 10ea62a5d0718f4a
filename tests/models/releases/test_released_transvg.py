"""A released TransVG, imported, answers as its authors' network does, padding and cut phrases included."""

import argparse
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deixis.core.errors import DataError
from deixis.language.tokens import encode
from models.loading.students import load_student
from tests.models.releases import layouts, reference
from tests.models.releases.files import import_state
from tests.models.releases.student_input import IMAGE_OF, student_input

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "ball", "left", "##most", "star"]
WIDTH, FEEDFORWARD, BERT, LENGTH, SIDE = 16, 24, 64, 6, 128  # 256, 2048, 768, 20 and 640 in the release
STAGES = (4, 4, 8, 8)  # 64, 128, 256 and 512; one block each, of 3, 4, 6 and 3
SMALL = ["input_size=128", f"text.length={LENGTH}"]
CONTENT = torch.tensor([[0.0, 20.0, 128.0, 108.0], [12.0, 0.0, 116.0, 128.0]])  # no border is one of a cell of 32


def encoder(name: str, layers: int) -> layouts.Shapes:
    shapes: layouts.Shapes = {}
    for number in range(layers):
        layer = f"{name}.layers.{number}."
        shapes |= {
            f"{layer}self_attn.in_proj_weight": (3 * WIDTH, WIDTH),
            f"{layer}self_attn.in_proj_bias": (3 * WIDTH,),
        }
        shapes |= layouts.linear(f"{layer}self_attn.out_proj", WIDTH, WIDTH)
        shapes |= layouts.linear(f"{layer}linear1", WIDTH, FEEDFORWARD) | layouts.linear(
            f"{layer}linear2", FEEDFORWARD, WIDTH
        )
        for part in ("norm1", "norm2"):
            shapes |= {f"{layer}{part}.weight": (WIDTH,), f"{layer}{part}.bias": (WIDTH,)}
    return shapes


def frozen_norm(name: str, width: int) -> layouts.Shapes:
    return {f"{name}.{value}": (width,) for value in ("weight", "bias", "running_mean", "running_var")}


def cnn(name: str) -> layouts.Shapes:
    shapes = layouts.conv(f"{name}.conv1", 3, 64, 7, bias=False) | frozen_norm(f"{name}.bn1", 64)
    before = 64
    for stage, width in enumerate(STAGES, start=1):
        block = f"{name}.layer{stage}.0."
        for number, (inputs, outputs, kernel) in enumerate(
            ((before, width, 1), (width, width, 3), (width, 4 * width, 1)), start=1
        ):
            shapes |= layouts.conv(f"{block}conv{number}", inputs, outputs, kernel, bias=False)
            shapes |= frozen_norm(f"{block}bn{number}", outputs)
        shapes |= layouts.conv(f"{block}downsample.0", before, 4 * width, 1, bias=False)
        shapes |= frozen_norm(f"{block}downsample.1", 4 * width)
        before = 4 * width
    return shapes


def bert(name: str) -> layouts.Shapes:
    shapes: layouts.Shapes = {
        f"{name}.embeddings.word_embeddings.weight": (len(PIECES), BERT),
        f"{name}.embeddings.position_embeddings.weight": (512, BERT),
        f"{name}.embeddings.token_type_embeddings.weight": (2, BERT),
    }
    norms = [f"{name}.embeddings.LayerNorm"]
    for number in range(2):
        layer = f"{name}.encoder.layer.{number}."
        for part in ("query", "key", "value"):
            shapes |= layouts.linear(f"{layer}attention.self.{part}", BERT, BERT)
        shapes |= layouts.linear(f"{layer}attention.output.dense", BERT, BERT)
        shapes |= layouts.linear(f"{layer}intermediate.dense", BERT, 32) | layouts.linear(
            f"{layer}output.dense", 32, BERT
        )
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    for norm in norms:
        shapes |= {f"{norm}.weight": (BERT,), f"{norm}.bias": (BERT,)}
    return shapes | layouts.linear(f"{name}.pooler.dense", BERT, BERT)


def released() -> dict[str, torch.Tensor]:
    shapes = cnn("visumodel.backbone.0.body") | layouts.conv("visumodel.input_proj", 4 * STAGES[-1], WIDTH, 1)
    shapes |= (
        encoder("visumodel.transformer.encoder", 2) | encoder("vl_transformer.encoder", 2) | bert("textmodel.bert")
    )
    shapes |= layouts.linear("visu_proj", WIDTH, WIDTH) | layouts.linear("text_proj", BERT, WIDTH)
    shapes |= {"vl_pos_embed.weight": (1 + LENGTH + (SIDE // 32) ** 2, WIDTH), "reg_token.weight": (1, WIDTH)}
    for number, outputs in enumerate((WIDTH, WIDTH, 4)):
        shapes |= layouts.linear(f"bbox_embed.layers.{number}", WIDTH, outputs)
    state = layouts.draw(shapes)
    state["bbox_embed.layers.2.bias"][2:] = -1.5  # boxes that no border cuts
    return state


def look(state, images: torch.Tensor) -> torch.Tensor:
    """The last map of the residual network, whose stride is in its 3 x 3 convolutions."""
    name = "visumodel.backbone.0.body"

    def layer(place: str, x: torch.Tensor, number: str, **options) -> torch.Tensor:
        norm = f"{place}downsample.1" if number == "downsample.0" else f"{place}bn{number[-1]}"
        return reference.batch_norm(state, norm, reference.convolve(state, f"{place}{number}", x, **options))

    x = F.max_pool2d(layer(f"{name}.", images, "conv1", stride=2, padding=3).relu(), 3, 2, 1)
    for stage in range(1, 5):
        block, stride = f"{name}.layer{stage}.0.", 1 if stage == 1 else 2
        y = layer(block, x, "conv1").relu()
        y = layer(block, y, "conv2", stride=stride, padding=1).relu()
        x = (layer(block, y, "conv3") + layer(block, x, "downsample.0", stride=stride)).relu()
    return x


def encode_tokens(state, name: str, x: torch.Tensor, position: torch.Tensor, ignore: torch.Tensor) -> torch.Tensor:
    """DETR's encoder: positions enter queries and keys, the norm comes after."""
    for number in range(2):
        layer = f"{name}.layers.{number}"
        placed = x + position
        weights = state[f"{layer}.self_attn.in_proj_weight"].chunk(3)
        biases = state[f"{layer}.self_attn.in_proj_bias"].chunk(3)
        query, key, value = (
            F.linear(y, weight, bias).unflatten(2, (8, -1)).transpose(1, 2)
            for y, weight, bias in zip((placed, placed, x), weights, biases, strict=True)
        )
        scores = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).masked_fill(ignore[:, None, None], -torch.inf)
        attended = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        x = plain_norm(
            state, f"{layer}.norm1", x + reference.affine(state, f"{layer}.self_attn.out_proj", attended), 1e-5
        )
        hidden = reference.affine(state, f"{layer}.linear1", x).relu()
        x = plain_norm(state, f"{layer}.norm2", x + reference.affine(state, f"{layer}.linear2", hidden), 1e-5)
    return x


def plain_norm(state, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def read(state, tokens: torch.Tensor) -> torch.Tensor:
    """BERT's states; empty places count next to nothing, by -10000."""
    name, ignore = "textmodel.bert", (tokens == 0)[:, None, None]
    x = state[f"{name}.embeddings.word_embeddings.weight"][tokens]
    x = x + state[f"{name}.embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = x + state[f"{name}.embeddings.token_type_embeddings.weight"][0]
    x = plain_norm(state, f"{name}.embeddings.LayerNorm", x, 1e-12)
    for number in range(2):
        layer = f"{name}.encoder.layer.{number}"
        query, key, value = (
            reference.affine(state, f"{layer}.attention.self.{part}", x)[:, None] for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(2, 3) / BERT**0.5 - 10000.0 * ignore
        looked = reference.affine(state, f"{layer}.attention.output.dense", (scores.softmax(-1) @ value)[:, 0])
        x = plain_norm(state, f"{layer}.attention.output.LayerNorm", x + looked, 1e-12)
        hidden = F.gelu(reference.affine(state, f"{layer}.intermediate.dense", x))
        x = plain_norm(
            state, f"{layer}.output.LayerNorm", x + reference.affine(state, f"{layer}.output.dense", hidden), 1e-12
        )
    return x


def sine_position(is_pad: torch.Tensor) -> torch.Tensor:
    """Of rows, then of columns, counted over what is no padding: [images, cells, WIDTH]."""
    half, codes = WIDTH // 2, []
    for axis in (1, 2):
        place = (~is_pad).float().cumsum(axis)
        place = place / (place.select(axis, -1).unsqueeze(axis) + 1e-6) * 2 * math.pi
        angle = place[..., None] / 10000 ** (2 * torch.div(torch.arange(half), 2, rounding_mode="floor") / half)
        codes.append(torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], 4).flatten(3))
    return torch.cat(codes, 3).flatten(1, 2)


def answer(state, asked) -> torch.Tensor:
    """Corners in pixels, cut to the canvas."""
    mask = torch.ones(2, SIDE, SIDE)
    for row, (left, top, right, bottom) in enumerate(CONTENT.int().tolist()):
        mask[row, top:bottom, left:right] = 0
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    images = (asked.squares / 255 - mean) / deviation * (1 - mask[:, None])
    is_pad = F.interpolate(mask[None], size=(SIDE // 32, SIDE // 32))[0].bool()
    pixels = reference.convolve(state, "visumodel.input_proj", look(state, images)).flatten(2).transpose(1, 2)
    pixels = encode_tokens(state, "visumodel.transformer.encoder", pixels, sine_position(is_pad), is_pad.flatten(1))
    pixels = reference.affine(state, "visu_proj", pixels)[IMAGE_OF]
    words = reference.affine(state, "text_proj", read(state, asked.tokens))
    sequence = torch.cat([state["reg_token.weight"].expand(3, 1, -1), words, pixels], 1)
    ignore = torch.cat([torch.zeros(3, 1, dtype=torch.bool), asked.tokens == 0, is_pad.flatten(1)[IMAGE_OF]], 1)
    x = encode_tokens(state, "vl_transformer.encoder", sequence, state["vl_pos_embed.weight"], ignore)[:, 0]
    for number in range(3):
        x = reference.affine(state, f"bbox_embed.layers.{number}", x)
        x = x.relu() if number < 2 else x.sigmoid()
    return torch.cat([x[:, :2] - x[:, 2:] / 2, x[:, :2] + x[:, 2:] / 2], 1).clamp(0, 1) * SIDE


def write_pieces(folder):
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return folder / "vocab.txt"


@torch.no_grad()
def test_it_answers_as_released(tmp_path):
    state = released()
    folder, report = import_state(
        "transvg", state, tmp_path, tokens=write_pieces(tmp_path), inside="model", settings=SMALL
    )
    assert report.read == len(state) and not report.unread
    student = load_student(folder, torch.device("cpu"))
    tokens = encode(["red ball", "leftmost red star ball ball", "star"], student.vocabulary, student.text_length)
    assert tokens.tolist() == [[2, 4, 5, 3, 0, 0], [2, 6, 7, 4, 8, 3], [2, 8, 3, 0, 0, 0]]
    asked = replace(student_input(SIDE), tokens=tokens, content_xyxy=CONTENT)
    expected = answer(state, asked)
    assert expected.std(0).min() > 0.05
    torch.testing.assert_close(student.predict(asked).boxes_xyxy, expected, atol=1e-2, rtol=1e-4)


def test_settings_saved_beside_the_tensors_do_no_harm(tmp_path):
    state, tokens = released(), write_pieces(tmp_path)
    arguments = argparse.Namespace(lr=1e-4, device="cuda", dilation=False)
    folder, _ = import_state("transvg", state, tmp_path, tokens=tokens, inside="model", settings=SMALL, args=arguments)
    assert (folder / "model.safetensors").exists()


def test_positions_of_another_size_of_input_are_refused(tmp_path):
    tokens = write_pieces(tmp_path)
    with pytest.raises(DataError, match=r"position \[23, 16\] for"):
        import_state("transvg", released(), tmp_path, tokens=tokens, inside="model")
