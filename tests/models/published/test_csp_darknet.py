"""The students' backbone at its real size: SimREC's file loads, and its maps are those of a plain reference."""

import pytest
import torch
from ruamel.yaml import YAML
from torch import Tensor
from torch.nn import functional as F

from deixis.core.checkpoints import load_state
from deixis.core.errors import DataError
from deixis.weights.cards import find_card
from deixis.weights.locate import pin
from models.blocks.csp_darknet import CSPDarkNet
from models.student_blocks.one_stage import OneStageConfig, build_backbone
from stages.import_weights import import_weights
from tests.models.published.factories import close, imported, published_size, squares

pytestmark = pytest.mark.slow

# The release's list of modules: channels in and out, then the convolution's side or the blocks' number
CONVOLUTIONS = {0: (3, 64, 6), 1: (64, 128, 3), 3: (128, 256, 3), 5: (256, 512, 3), 7: (512, 1024, 3)}
CROSS_STAGES = {2: (128, 3), 4: (256, 6), 6: (512, 9), 8: (1024, 3)}
PYRAMID = (9, 1024)
CARD = "simrec-cspdarknet"


def release() -> dict[str, Tensor]:
    """Random tensors under the release's names, module by module."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}

    def convolution(name: str, before: int, after: int, side: int) -> None:
        shape, fan = (after, before, side, side), before * side * side
        tensors[f"{name}.conv.weight"] = torch.empty(shape).normal_(std=fan**-0.5, generator=generator)
        for part, low, high in (("weight", 0.8, 1.2), ("bias", 0.0, 0.4), ("running_var", 0.5, 1.5)):
            tensors[f"{name}.bn.{part}"] = torch.empty(after).uniform_(low, high, generator=generator)
        tensors[f"{name}.bn.running_mean"] = torch.empty(after).normal_(std=0.1, generator=generator)
        tensors[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)

    for place, sizes in CONVOLUTIONS.items():
        convolution(f"model.{place}", *sizes)
    for place, (width, blocks) in CROSS_STAGES.items():
        half = width // 2
        for part, before, after in (("cv1", width, half), ("cv2", width, half), ("cv3", width, width)):
            convolution(f"model.{place}.{part}", before, after, 1)
        for block in range(blocks):
            convolution(f"model.{place}.m.{block}.cv1", half, half, 1)
            convolution(f"model.{place}.m.{block}.cv2", half, half, 3)
    place, width = PYRAMID
    convolution(f"model.{place}.cv1", width, width // 2, 1)
    convolution(f"model.{place}.cv2", 2 * width, width, 1)
    return tensors


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The release's file: its state dictionary and nothing round it."""
    path, tensors = tmp_path_factory.mktemp("simrec") / find_card(CARD).files[0].name, release()
    torch.save(tensors, path)
    return path, tensors


def test_published_size(published):
    learned = [tensor for name, tensor in published[1].items() if name.endswith(("weight", "bias"))]
    assert published_size(CSPDarkNet) == sum(tensor.numel() for tensor in learned)
    assert round(published_size(CSPDarkNet) / 1e6, 2) == 26.58


@torch.no_grad()
def test_maps_are_those_of_the_reference(published):
    path, tensors = published
    images = squares(128, batch=2) / 255
    maps = imported(CSPDarkNet, path)(images)
    expected = Reference(tensors).maps(images)
    assert [tuple(x.shape) for x in maps] == [(2, 256, 16, 16), (2, 512, 8, 8), (2, 1024, 4, 4)]
    for ours, theirs in zip(maps, expected, strict=True):
        close(ours, theirs)


def test_an_imported_backbone_fits_the_students(published, tmp_path, monkeypatch):
    path, tensors = published
    monkeypatch.setenv("DEIXIS_WEIGHTS", str(path.parent))
    pin(find_card(CARD), path.parent)
    params = tmp_path / "params.yaml"
    YAML().dump({"imports": {"backbone": {"card": CARD, "file": path.name}}}, params)
    import_weights(name="backbone", out=tmp_path / "backbone", params=params)
    student = build_backbone(OneStageConfig(frozen_backbone=True))
    state, _ = load_state(tmp_path / "backbone" / "model.safetensors")
    student.load_state_dict(state, strict=True)
    assert torch.equal(student.pyramid.join[0].weight, tensors["model.9.cv2.conv.weight"])
    assert student.stem[1].num_batches_tracked == 7


def test_a_detectors_neck_and_head_are_left_aside(published, tmp_path):
    others = {f"model.{place}.{name}": torch.ones(1) for place, name in ((10, "conv.weight"), (24, "m.0.bias"))}
    torch.save(published[1] | others, tmp_path / "detector.pth")
    assert len(CSPDarkNet.read_published(tmp_path / "detector.pth")[1]) == len(published[1])


def test_every_wrong_name_is_listed(published, tmp_path):
    tensors = dict(published[1])
    for name in ("model.8.m.2.cv2.bn.bias", "model.0.conv.weight"):
        tensors.pop(name)
    tensors |= {"model.6.cv4.conv.weight": torch.ones(1), "model.25.conv.weight": torch.ones(1)}
    tensors["model.9.cv1.conv.weight"] = torch.ones(256, 512, 1, 1)  # of YOLOv5-M, or nearly
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(DataError) as refused:
        CSPDarkNet.read_published(tmp_path / "other.pth")
    for line in (
        r"2 missing: stages.3.1.blocks.2.body.1.1.bias, stem.0.weight",
        r"2 unexpected: model.25.0.weight, stages.2.1.cv4.0.weight",
        r"pyramid.reduce.0.weight",
    ):
        assert line in str(refused.value)


class Reference:
    """The release's modules over its tensors, by their numbers."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def convolve(self, name: str, x: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
        """Convolution without bias, BatchNorm with its usual epsilon, SiLU."""
        x = F.conv2d(x, self.tensors[f"{name}.conv.weight"], stride=stride, padding=padding)
        mean, var, weight, bias = (
            self.tensors[f"{name}.bn.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 1e-5).sqrt() * weight + bias
        return x * x.sigmoid()

    def maps(self, images: Tensor) -> list[Tensor]:
        """After modules 4, 6 and 9."""
        x, levels = images, []
        for place in range(9):
            if place in CROSS_STAGES:
                x = self.cross_stage(f"model.{place}", x, blocks=CROSS_STAGES[place][1])
            else:
                x = self.convolve(f"model.{place}", x, stride=2, padding=1 if place else 2)
            if place in (4, 6):
                levels.append(x)
        return [*levels, self.pyramid("model.9", x)]

    def cross_stage(self, name: str, x: Tensor, *, blocks: int) -> Tensor:
        through, around = self.convolve(f"{name}.cv1", x), self.convolve(f"{name}.cv2", x)
        for block in range(blocks):
            hidden = self.convolve(f"{name}.m.{block}.cv1", through)
            through = through + self.convolve(f"{name}.m.{block}.cv2", hidden, padding=1)
        return self.convolve(f"{name}.cv3", torch.cat([through, around], 1))

    def pyramid(self, name: str, x: Tensor) -> Tensor:
        """Pooling in parallel over 5, 9 and 13 cells is what three poolings over 5 in a row amount to."""
        x = self.convolve(f"{name}.cv1", x)
        pooled = [F.max_pool2d(x, side, 1, side // 2) for side in (5, 9, 13)]
        return self.convolve(f"{name}.cv2", torch.cat([x, *pooled], 1))
