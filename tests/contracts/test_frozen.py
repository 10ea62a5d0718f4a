"""Frozen means no gradient and no moving statistics, whatever a training step does around it."""

import pytest
import torch
from torch import nn

from deixis.core.frozen import freeze
from deixis.training.fit import Recipe, fit
from models.blocks.csp_darknet import CSPConfig
from models.detectors.yolov3 import YOLOv3, YOLOv3Config
from models.students.simrec import SimREC, SimRECConfig
from tests.factories import TINY_TEXT, VOCABULARY, dvin, refclip, student_batch, teacher_batch

RECIPE = Recipe(epochs=1, batch_size=4, lr=1e-2, warmup_epochs=0)


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])]


def train(model, batch, tmp_path) -> None:
    fit(
        model, model.loss, lambda epoch: [batch, batch], steps_per_epoch=2, recipe=RECIPE, device=torch.device("cpu"),
        scratch=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize("build", [refclip, dvin])
def test_the_word_table_of_a_teacher(build, tmp_path):
    model = build()
    before = snapshot(model.text_encoder.embedding)
    train(model, teacher_batch(), tmp_path)
    assert not unchanged(model.text_encoder.embedding, before)


def test_everything_else_of_a_teacher_moves_so_the_check_can_fail(tmp_path):
    model = refclip()
    before = snapshot(model.fusion)
    train(model, teacher_batch(), tmp_path)
    assert unchanged(model.fusion, before)


def test_a_frozen_detector_inside_a_training_model(tmp_path):
    config = YOLOv3Config(input_size=64, num_classes=2, stem=4, widths=(4, 8, 8, 16, 16), blocks=(1, 1, 1, 1, 1))
    detector = freeze(YOLOv3(config))

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector = detector
            self.head = nn.Linear(16, 1)

        def loss(self, squares: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"any": self.head(self.detector.detect(squares).maps[0].mean((2, 3))).square().mean()}

    before = snapshot(detector)
    model = Wrapper()
    train(model, torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8), tmp_path)
    model.train()
    assert not unchanged(detector, before)
    assert not any(module.training for module in detector.modules())
    assert not any(parameter.requires_grad for parameter in detector.parameters())


def test_the_frozen_part_of_a_student(tmp_path):
    torch.manual_seed(0)
    model = SimREC(
        SimRECConfig(
            input_size=64, resize_sides=(64,), frozen_backbone=True, fused_width=8, head_width=8, text=TINY_TEXT,
            backbone=CSPConfig(stem=4, widths=(8, 8, 8), blocks=(1, 1, 1)),
        ),
        VOCABULARY,
    )  # fmt: skip
    frozen = nn.ModuleList([model.backbone.stem, *model.backbone.stages[:-1], model.backbone.stages[-1][0]])
    before, last = snapshot(frozen), snapshot(model.backbone.pyramid)
    train(model, student_batch(), tmp_path)
    assert not unchanged(frozen, before)
    assert unchanged(model.backbone.pyramid, last)
