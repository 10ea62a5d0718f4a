"""The published YOLOv3 file: its names, and that our network says of an image what the published one says.

The reference below follows the released description of the network module by module, on the published names; the
deformable convolution samples the map itself.
"""

import math
from itertools import count

import pytest
import torch
from torch.nn import functional as F

from deixis.core.errors import DataError
from models.detectors.yolov3 import YOLOv3

pytestmark = pytest.mark.slow

ANCHORS = {
    19: [(116, 90), (156, 198), (121, 240)],
    28: [(30, 61), (62, 45), (42, 119)],
    37: [(10, 13), (16, 30), (33, 23)],
}
STRIDE = {19: 32, 28: 16, 37: 8}
MODULES = [  # the released list: ("conv", in, out, kernel, stride), ("block", width, count, shortcut), ("head", width)
    ("conv", 3, 32, 3, 1), ("conv", 32, 64, 3, 2), ("block", 64, 1, True), ("conv", 64, 128, 3, 2),
    ("block", 128, 2, True), ("conv", 128, 256, 3, 2), ("block", 256, 8, True), ("conv", 256, 512, 3, 2),
    ("block", 512, 8, True), ("conv", 512, 1024, 3, 2), ("block", 1024, 4, True), ("block", 1024, 1, False),
    ("conv", 1024, 512, 1, 1), ("pyramid",), ("conv", 2048, 512, 1, 1), ("conv", 512, 1024, 3, 1), ("nothing",),
    ("conv", 1024, 512, 1, 1), ("conv", 512, 1024, 3, 1), ("head", 1024), ("conv", 512, 256, 1, 1), ("grow",),
    ("conv", 768, 256, 1, 1), ("conv", 256, 512, 3, 1), ("nothing",), ("block", 512, 1, False),
    ("conv", 512, 256, 1, 1), ("conv", 256, 512, 3, 1), ("head", 512), ("conv", 256, 128, 1, 1), ("grow",),
    ("conv", 384, 128, 1, 1), ("conv", 128, 256, 3, 1), ("nothing",), ("block", 256, 1, False),
    ("conv", 256, 128, 1, 1), ("conv", 128, 256, 3, 1), ("head", 256),
]  # fmt: skip


def convolution(name, inputs, outputs, kernel):
    yield f"{name}.conv.weight", (outputs, inputs, kernel, kernel)
    for value in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.batch_norm.{value}", (outputs,)
    yield f"{name}.batch_norm.num_batches_tracked", ()


def layout(classes=80):
    """Every published name and its shape."""
    shapes = {}
    for number, (kind, *sizes) in enumerate(MODULES):
        name = f"module_list.{number}"
        if kind == "conv":
            shapes.update(convolution(name, *sizes[:3]))
        elif kind == "block":
            width, repeats, _ = sizes
            for repeat in range(repeats):
                shapes.update(convolution(f"{name}.module_list.{repeat}.0", width, width // 2, 1))
                shapes.update(convolution(f"{name}.module_list.{repeat}.1", width // 2, width, 3))
        elif kind == "head":
            width = sizes[0]
            shapes |= {
                f"{name}.guide_wh.weight": (8, width, 1, 1), f"{name}.guide_wh.bias": (8,),
                f"{name}.Feature_adaption.conv_offset.weight": (72, 2, 1, 1),
                f"{name}.Feature_adaption.conv_offset.bias": (72,),
                f"{name}.Feature_adaption.dconv.weight": (width, width, 3, 3),
                f"{name}.Feature_adaption.dconv.bias": (width,),
                f"{name}.conv.weight": (4 * (5 + classes), width, 1, 1), f"{name}.conv.bias": (4 * (5 + classes),),
            }  # fmt: skip
    return shapes


def random_weights(classes=80):
    """Weights under which signals neither die nor explode, and guides and offsets are worth a cell or so."""
    generator = torch.Generator().manual_seed(0)

    def draw(name, shape):
        if name.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if name.endswith(("running_var", "batch_norm.weight")):
            return 0.5 + torch.rand(shape, generator=generator) * 0.5
        values = torch.randn(shape, generator=generator)
        return values * (0.1 if len(shape) == 1 else 1 / math.sqrt(math.prod(shape[1:])))

    return {name: draw(name, shape) for name, shape in layout(classes).items()}


def flat_weights(classes=80, dtype=torch.float32):
    """The whole layout in a file of a few kilobytes: every tensor is one number, repeated."""
    return {name: torch.zeros((), dtype=dtype).expand(shape) for name, shape in layout(classes).items()}


class Reference:
    """The published network as functions on its own names."""

    def __init__(self, weights):
        self.weights = weights

    def conv_bn(self, name, x, stride=1):
        w = {part: self.weights[f"{name}.{part}"] for part in ("conv.weight", "batch_norm.weight", "batch_norm.bias")}
        mean, var = (self.weights[f"{name}.batch_norm.running_{part}"] for part in ("mean", "var"))
        x = F.conv2d(x, w["conv.weight"], stride=stride, padding=w["conv.weight"].shape[-1] // 2)
        scale = w["batch_norm.weight"] / (var + 1e-5).sqrt()
        x = (x - mean[:, None, None]) * scale[:, None, None] + w["batch_norm.bias"][:, None, None]
        return torch.where(x > 0, x, 0.1 * x)

    def deformed(self, name, x, offsets):
        """3x3 convolution whose nine taps look elsewhere, each quarter of the channels at places of its own."""
        batch, _, height, width = x.shape
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        offsets = offsets.view(batch, 4, 9, 2, height, width)  # down, then right
        taps = []
        for tap, (down, right) in enumerate((d, r) for d in (-1, 0, 1) for r in (-1, 0, 1)):
            quarters = []
            for group, part in enumerate(x.chunk(4, 1)):
                y = rows + down + offsets[:, group, tap, 0]
                z = columns + right + offsets[:, group, tap, 1]
                # grid_sample wants -1 and 1 at the centres of the outermost pixels
                places = torch.stack([2 * z / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)
                quarters.append(F.grid_sample(part, places, padding_mode="zeros", align_corners=True))
            taps.append(torch.cat(quarters, 1))
        columns = torch.stack(taps, 2).flatten(1, 2).flatten(2)  # channel-major, as the weights are
        weight = self.weights[f"{name}.weight"].flatten(1)
        return (weight @ columns).view(batch, -1, height, width) + self.weights[f"{name}.bias"][:, None, None]

    def head(self, number, x):
        name = f"module_list.{number}"
        layer = lambda part: (self.weights[f"{name}.{part}.weight"], self.weights[f"{name}.{part}.bias"])  # noqa: E731
        guide = F.conv2d(x, *layer("guide_wh"))
        offsets = F.conv2d(guide, *layer("Feature_adaption.conv_offset"), groups=4)
        raw = F.conv2d(self.deformed(f"{name}.Feature_adaption.dconv", x, offsets), *layer("conv"))
        batch, _, height, width = x.shape
        raw, guide = raw.view(batch, 4, -1, height, width), guide.view(batch, 4, 2, height, width)
        assert max(raw[:, :, 2:4].abs().max(), guide.abs().max()) < 4  # beyond that ours is cut, see its docstring
        sizes = [*ANCHORS[number], (4 * STRIDE[number],) * 2]
        out = raw.sigmoid()
        for y in range(height):
            for z in range(width):
                for box, (anchor_width, anchor_height) in enumerate(sizes):
                    out[:, box, 0, y, z] = (out[:, box, 0, y, z] + z) * STRIDE[number]
                    out[:, box, 1, y, z] = (out[:, box, 1, y, z] + y) * STRIDE[number]
                    out[:, box, 2, y, z] = (raw[:, box, 2, y, z] + guide[:, box, 0, y, z]).exp() * anchor_width
                    out[:, box, 3, y, z] = (raw[:, box, 3, y, z] + guide[:, box, 1, y, z]).exp() * anchor_height
        return out.flatten(3).permute(0, 3, 1, 2)

    def __call__(self, images):
        maps, boxes, outputs, x = [], [], {}, images
        for number, (kind, *sizes) in zip(count(), MODULES, strict=False):
            name = f"module_list.{number}"
            if kind == "conv":
                x = self.conv_bn(name, x, stride=sizes[3])
            elif kind == "block":
                for repeat in range(sizes[1]):
                    inner = self.conv_bn(f"{name}.module_list.{repeat}.0", x)
                    inner = self.conv_bn(f"{name}.module_list.{repeat}.1", inner)
                    x = x + inner if sizes[2] else inner
            elif kind == "pyramid":
                x = torch.cat([x, *(F.max_pool2d(x, side, 1, side // 2) for side in (5, 9, 13))], 1)
            elif kind == "grow":
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
                x = torch.cat([x, outputs[{21: 8, 30: 6}[number]]], 1)
            elif kind == "head":
                maps.append(x)
                boxes.append(self.head(number, x))
                x = outputs[{19: 17, 28: 26}.get(number, 8)]
            outputs[number] = x
        return maps, boxes


@pytest.fixture(scope="module")
def weights():
    return random_weights()


@torch.inference_mode()
def test_real_size_equals_the_published_network(weights, tmp_path):
    path = tmp_path / "yolov3.pth"
    torch.save(weights, path)
    config, tensors = YOLOv3.read_published(path)
    model = YOLOv3(config).eval()
    model.load_state_dict(tensors, strict=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == 75_554_428
    trained = [shape for name, shape in layout().items() if "running" not in name and "tracked" not in name]
    assert sum(math.prod(shape) for shape in trained) == 75_554_428

    squares = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    maps, boxes = Reference(weights)((squares / 255 - mean[:, None, None]) / std[:, None, None])
    detections = model.detect(squares)
    assert [tuple(scale.shape[1:]) for scale in detections.maps] == [(1024, 2, 2), (512, 4, 4), (256, 8, 8)]
    for ours, theirs in zip(detections.maps, maps, strict=True):
        assert theirs.std() > 0.1
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(detections.boxes, boxes[0], atol=1e-4, rtol=1e-4)
    for head, scale, theirs in zip(model.heads, detections.maps, boxes, strict=True):
        torch.testing.assert_close(head(scale).decoded, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda flat: flat, id="detector alone"),
        pytest.param(lambda flat: {"state_dict": flat, "epoch": 3, "lr": 1e-4}, id="in a checkpoint"),
        pytest.param(lambda flat: {f"module.{name}": t for name, t in flat.items()}, id="data parallel"),
        pytest.param(
            lambda flat: {"state_dict": {f"module.visual_encoder.{n}": t for n, t in flat.items()}
                          | {"module.lang_encoder.embedding.weight": torch.zeros(3, 300)}},
            id="inside a trained teacher",
        ),
        pytest.param(lambda flat: {n: t for n, t in flat.items() if "tracked" not in n}, id="without counters"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_containers(wrap, zipped, tmp_path):
    torch.save(wrap(flat_weights()), tmp_path / "any.pth", _use_new_zipfile_serialization=zipped)
    config, tensors = YOLOv3.read_published(tmp_path / "any.pth")
    with torch.device("meta"):
        expected = YOLOv3(config).state_dict()
    assert {n: t.shape for n, t in tensors.items()} == {n: t.shape for n, t in expected.items()}


def test_number_of_classes_comes_from_the_file(tmp_path):
    torch.save(flat_weights(classes=100), tmp_path / "visual_genome.pth")
    assert YOLOv3.read_published(tmp_path / "visual_genome.pth")[0].num_classes == 100


def test_half_precision_becomes_single(tmp_path):
    torch.save(flat_weights(dtype=torch.float16), tmp_path / "half.pth")
    tensors = YOLOv3.read_published(tmp_path / "half.pth")[1]
    assert {t.dtype for n, t in tensors.items() if "tracked" not in n} == {torch.float32}


def test_every_wrong_name_is_reported(tmp_path):
    flat = flat_weights()
    del flat["module_list.0.conv.weight"], flat["module_list.37.guide_wh.bias"]
    flat |= {"module_list.38.conv.weight": torch.zeros(1), "module_list.12.conv.weight": torch.zeros(512, 1024, 3, 3)}
    torch.save(flat, tmp_path / "wrong.pth")
    with pytest.raises(DataError) as caught:
        YOLOv3.read_published(tmp_path / "wrong.pth")
    report = str(caught.value)
    assert "2 missing: module_list.0.conv.weight, module_list.37.guide_wh.bias\n" in report
    assert "1 unexpected: module_list.38.conv.weight\n" in report
    assert "1 of another shape: module_list.12.conv.weight [512, 1024, 3, 3] for [512, 1024, 1, 1]\n" in report


def test_another_networks_file_is_reported_whole(tmp_path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    needed = sum("tracked" not in name for name in layout())
    with pytest.raises(DataError, match=rf"{needed} missing: (.*)\n1 unexpected: conv1.weight\n") as caught:
        YOLOv3.read_published(tmp_path / "resnet.pth")
    assert len(str(caught.value).splitlines()[1].split(", ")) == needed


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_not_executed(tmp_path):
    torch.save({"state_dict": flat_weights(), "trap": Trap(tmp_path / "sprung")}, tmp_path / "bad.pth")
    with pytest.raises(DataError, match=r"reading it would execute it .* python -c"):
        YOLOv3.read_published(tmp_path / "bad.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file", id="no file"),
        pytest.param(b"", "not a whole weight file", id="empty"),
        pytest.param(b"<html>not found</html>", "bad.pth: ", id="a web page"),
    ],
)
def test_no_weight_file(content, message, tmp_path):
    if content is not None:
        (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(DataError, match=message):
        YOLOv3.read_published(tmp_path / "bad.pth")


def test_a_file_cut_short(tmp_path):
    torch.save(flat_weights(), tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:-1000])
    with pytest.raises(DataError, match="not a whole weight file"):
        YOLOv3.read_published(tmp_path / "cut.pth")
