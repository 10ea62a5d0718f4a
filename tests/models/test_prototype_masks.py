"""A mask head on the frozen detector: sizes, assembly, its loss, and that it learns."""

import math

import pytest
import torch
from torch import nn

from deixis.boxes import cxcywh_to_xyxy
from deixis.core.frozen import freeze
from deixis.training.fit import Recipe, fit
from models.detectors.prototype_masks import (
    PrototypeMasks,
    PrototypeMasksConfig,
    assemble,
    mask_head_loss,
    mask_loss,
    mix,
    pixels_inside,
    responsible_boxes,
)
from models.detectors.yolov3 import YOLOv3, YOLOv3Config

TINY = PrototypeMasksConfig(detector_channels=(16, 8, 8), prototypes=4, width=8)


def test_shapes_of_the_published_head():
    with torch.device("meta"):
        head = PrototypeMasks(PrototypeMasksConfig())
        prototypes, coefficients = head(torch.empty(2, 1024, 13, 13), torch.empty(2, 256, 52, 52))
    assert prototypes.shape == (2, 32, 104, 104)
    assert coefficients.shape == (2, 169, 4, 32)


@torch.no_grad()
def test_coefficients_belong_to_the_cell_and_box_that_they_are_listed_under():
    head = PrototypeMasks(TINY).eval()
    nn.init.zeros_(head.coefficients[1].weight)
    head.coefficients[1].bias.copy_(torch.arange(16.0))
    coarse = torch.zeros(1, 16, 3, 3)
    assert head(coarse, torch.zeros(1, 8, 12, 12))[1][0, 5].tolist() == torch.arange(16.0).view(4, 4).tolist()
    nn.init.normal_(head.coefficients[1].weight)
    before = head(coarse, torch.zeros(1, 8, 12, 12))[1]
    coarse[0, :, 0, 0] = 1.0  # reaches the cells beside it, through the 3x3 convolution, and no others
    moved = (head(coarse, torch.zeros(1, 8, 12, 12))[1] != before).flatten(2).any(2)[0]
    assert moved.tolist() == [True, True, False, True, True, False, False, False, False]


def test_a_mask_is_the_sum_of_prototypes_cut_to_its_box():
    prototypes = torch.zeros(2, 4, 4)
    prototypes[0, :, 2:] = 2.0  # right half
    prototypes[1, 2:] = 1.0  # lower half
    numbers = torch.tensor([[1.0, -3.0], [0.0, 1.0]])
    boxes = torch.tensor([[1.0, 1.0, 4.0, 3.0], [0.0, 3.0, 1.0, 4.0]])
    low, high, shared = (1 / (1 + math.exp(-logit)) for logit in (-3.0, 2.0, -1.0))
    expected = torch.zeros(2, 4, 4)
    expected[0, 1, 1:] = torch.tensor([0.5, high, high])
    expected[0, 2, 1:] = torch.tensor([low, shared, shared])
    expected[1, 3, 0] = 1 / (1 + math.exp(-1.0))
    torch.testing.assert_close(assemble(prototypes, numbers, boxes, side=4), expected)


def test_masks_are_cut_on_the_square_and_not_on_the_coarser_prototypes():
    soft = assemble(torch.full((1, 4, 4), 5.0), torch.ones(1, 1), torch.tensor([[3.0, 5.0, 10.0, 6.0]]), side=16)
    assert soft.shape == (1, 16, 16)
    assert (soft > 0.5).nonzero().tolist() == [[0, 5, column] for column in range(3, 10)]


def test_boxes_outside_of_the_image_hold_nothing():
    boxes = torch.tensor([[-9.0, -9.0, -1.0, -1.0], [2.0, 2.0, 2.0, 5.0]])
    assert not pixels_inside(boxes, height=6, width=6).any()
    assert assemble(torch.ones(1, 6, 6), torch.ones(2, 1), boxes, side=6).sum() == 0
    assert mask_loss(torch.ones(2, 6, 6), torch.ones(2, 6, 6), boxes) == 0


@pytest.mark.parametrize("box", [(0, 0, 8, 8), (2, 3, 3, 4), (1.4, 0.2, 6.7, 7.9)])
def test_no_opinion_costs_ln_2_whatever_the_size_of_the_box(box):
    targets = (torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    loss = mask_loss(torch.zeros(1, 8, 8), targets, torch.tensor([box], dtype=torch.float32))
    assert loss.item() == pytest.approx(math.log(2))


def test_a_perfect_mask_costs_nothing_and_only_the_inside_counts():
    targets, boxes = torch.zeros(2, 8, 8), torch.tensor([[1.0, 1.0, 5.0, 5.0], [0.0, 4.0, 8.0, 8.0]])
    targets[:, 2:6, 2:4] = 1.0
    logits = (2 * targets - 1) * 30
    assert mask_loss(logits, targets, boxes) < 1e-6
    outside = ~pixels_inside(boxes, height=8, width=8)
    assert mask_loss(torch.where(outside, -logits, logits), targets, boxes) < 1e-6
    assert mask_loss(-logits, targets, boxes) > 10


def test_the_box_that_overlaps_an_object_most_draws_it():
    objects = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 30, 30], [70, 70, 80, 80], [0, 0, 5, 5]]])
    boxes = torch.tensor([[[0.0, 0, 10, 6], [0, 0, 10, 9], [28, 28, 40, 40], [50, 50, 60, 60]]])
    image, box, thing = responsible_boxes(boxes, objects, torch.tensor([[True, True, True, False]]))
    assert list(zip(image.tolist(), box.tolist(), thing.tolist(), strict=True)) == [(0, 1, 0), (0, 2, 1)]


def test_nothing_to_draw_gives_no_loss_and_no_gradient_of_nan():
    head, box = PrototypeMasks(TINY), torch.zeros(2, 4, 4, 4)
    maps = (torch.randn(2, 16, 2, 2), torch.randn(2, 8, 4, 4), torch.randn(2, 8, 8, 8))
    nothing = torch.zeros(2, 1, dtype=torch.bool)
    loss = mask_head_loss(head, maps, box, torch.zeros(2, 1, 4), torch.zeros(2, 1, 16, 16), nothing)["mask"]
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A head that learned two bright rectangles in each of four images, its detector, and what it was shown."""
    torch.manual_seed(0)
    detector = freeze(
        YOLOv3(YOLOv3Config(input_size=64, num_classes=2, stem=8, widths=(8, 8, 8, 16), blocks=(0, 0, 0, 0)))
    )
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    objects = torch.tensor([[[4.0 + 4 * k, 8, 28, 24], [36, 32 + 4 * k, 60, 60]] for k in range(4)])
    shown = torch.stack([pixels_inside(boxes, height=64, width=64) for boxes in objects]).float()
    squares = (40 + 180 * shown.amax(1, keepdim=True)).expand(-1, 3, -1, -1).to(torch.uint8)
    detections = detector.detect(squares)
    ring = torch.tensor([-4.0, -4, 4, 4])  # so that a box has an outside to learn
    batch = (
        detections.maps,
        cxcywh_to_xyxy(detections.boxes[..., :4]) / 2,
        (objects + ring) / 2,
        nn.functional.avg_pool2d(shown, 2),
        torch.ones(4, 2, dtype=torch.bool),
    )
    head = PrototypeMasks(TINY)
    fit(
        head,
        lambda given: mask_head_loss(head, *given),
        lambda epoch: [batch] * 150,
        steps_per_epoch=150,
        recipe=Recipe(epochs=1, lr=2e-2, warmup_epochs=0.1, clip_norm=0, ema_decay=0),
        device=torch.device("cpu"),
        scratch=tmp_path_factory.mktemp("scratch"),
    )
    return head, detector, before, batch


@torch.no_grad()
def test_it_learns_to_draw_rectangles(drawn):
    head, _, _, (maps, detections, objects, masks, valid) = drawn
    prototypes, coefficients = head(maps[0], maps[2])
    image, box, thing = responsible_boxes(detections.flatten(1, 2), objects, valid)
    assert set(zip(image.tolist(), thing.tolist(), strict=True)) == {(i, k) for i in range(4) for k in range(2)}
    for row, number, target in zip(image, box, thing, strict=True):
        logits = mix(prototypes[row], coefficients.flatten(1, 2)[row, number][None])[0]
        inside = pixels_inside(objects[row, target][None], height=32, width=32)[0]
        wrong = ((logits > 0) != (masks[row, target] > 0.5)) & inside
        assert wrong.sum() <= 0.05 * inside.sum()


def test_the_detector_stays_as_it_is(drawn):
    _, detector, before, _ = drawn
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())
    assert not any(parameter.requires_grad for parameter in detector.parameters())
