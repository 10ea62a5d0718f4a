"""What TransVG starts from, at its real size: DETR's file loads, and says what torchvision and torch say."""

import pytest
import torch

from deixis.core.errors import DataError
from models.backbones.detr import DETR
from models.blocks.detr_encoder import sine_position
from tests.models.published.factories import close, imported, published_size
from tests.models.published.layouts import detr_r50


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """As released: tensors under "model"."""
    torch.manual_seed(0)
    path, tensors = tmp_path_factory.mktemp("detr") / "detr-r50-unc.pth", detr_r50()
    torch.save({"model": tensors}, path)
    return path, tensors


def test_published_size():
    convolutions, encoder, projection = 23_454_912, 7_890_432, 524_544  # 23.45 M, 7.89 M and 0.52 M
    assert published_size(DETR) == convolutions + encoder + projection


@torch.no_grad()
def test_says_what_torchvision_and_torch_say(published):
    from torchvision.models import resnet50
    from torchvision.ops import FrozenBatchNorm2d

    path, tensors = published
    model = imported(DETR, path)
    cnn = resnet50(norm_layer=FrozenBatchNorm2d).eval()
    body = {name.removeprefix("backbone.0.body."): t for name, t in tensors.items() if name.startswith("backbone.")}
    cnn.load_state_dict(body | {"fc.weight": cnn.fc.weight, "fc.bias": cnn.fc.bias}, strict=True)
    images = torch.randn(2, 3, 96, 96)
    x = images
    for name, part in cnn.named_children():
        if name not in ("avgpool", "fc"):
            x = part(x)
    maps = model.cnn.forward_features(images)
    close(maps, x)
    x = torch.nn.functional.conv2d(x, tensors["input_proj.weight"], tensors["input_proj.bias"])
    close(model.input_project(maps), x)
    tokens, ignore = x.flatten(2).transpose(1, 2), torch.zeros(2, 9, dtype=torch.bool)
    ignore[:, 6:] = True
    place = sine_position(~ignore.view(2, 3, 3), 256)
    expected = tokens
    for number in range(6):
        expected = layer(tensors, f"transformer.encoder.layers.{number}.", expected, place, ignore)
    close(model.visual_encoder(tokens, place, ignore)[0], expected)


def layer(tensors, prefix, x, place, ignore):
    """One of DETR's layers over the published tensors: places join queries and keys, norms come last."""
    functional = torch.nn.functional
    weight = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    sides = [(x + place), (x + place), x]
    rows, biases = weight["self_attn.in_proj_weight"].chunk(3), weight["self_attn.in_proj_bias"].chunk(3)
    q, k, v = (
        functional.linear(side, w, b).unflatten(2, (8, 32)).transpose(1, 2)
        for side, w, b in zip(sides, rows, biases, strict=True)
    )
    scores = (q @ k.transpose(2, 3) / 32**0.5).masked_fill(ignore[:, None, None], -torch.inf)
    read = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    read = functional.linear(read, weight["self_attn.out_proj.weight"], weight["self_attn.out_proj.bias"])
    x = functional.layer_norm(x + read, (256,), weight["norm1.weight"], weight["norm1.bias"])
    hidden = functional.linear(x, weight["linear1.weight"], weight["linear1.bias"]).relu()
    hidden = functional.linear(hidden, weight["linear2.weight"], weight["linear2.bias"])
    return functional.layer_norm(x + hidden, (256,), weight["norm2.weight"], weight["norm2.bias"])


def test_every_wrong_name_is_listed(published, tmp_path):
    tensors = {name: t for name, t in published[1].items() if name != "input_proj.bias"}
    torch.save({"model": tensors | {"transformer.encoder.norm.weight": torch.ones(256)}}, tmp_path / "other.pth")
    with pytest.raises(DataError) as refused:
        DETR.read_published(tmp_path / "other.pth")
    for line in ("1 missing: input_project.bias", "1 unexpected: visual_encoder.norm.weight"):
        assert line in str(refused.value)
