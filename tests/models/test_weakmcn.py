"""WeakMCN: known losses, bitmap, position code and sizes; and where its supervision comes from."""

import math
from dataclasses import replace

import pytest
import torch

from deixis.boxes import cut_to
from deixis.core.errors import DataError
from deixis.types import BoxMasks
from models.blocks.garan import GlobalAttention
from models.teachers.weakmcn import (
    WeakMCN,
    WeakMCNConfig,
    box_bitmap,
    mask_loss,
    overlap,
    position_code,
    projection_loss,
)
from tests.factories import EXPERTS, TINY_TEXT, VOCABULARY, teacher_batch

SIDE = 416
BOX = torch.tensor([[100.0, 50.0, 203.0, 257.0]])  # 104 wide, 208 high, last pixels included


def weakmcn(**changes) -> WeakMCN:
    config = WeakMCNConfig(
        experts={name: EXPERTS[name] for name in ("distilled_vit", "segmentation_vit")},
        detector_channels=(16, 8, 4), input_size=64, fused_width=16, joint_width=16, mask_width=16, aspp_width=8,
        aspp_rates=(1, 2), keep_fraction=0.3, warm_epochs=0, suppress_from_epoch=99, text=TINY_TEXT,
    )  # fmt: skip
    torch.manual_seed(0)
    return WeakMCN(replace(config, **changes), VOCABULARY)


def masked_batch(batch: int = 4, **changes):
    made = teacher_batch(batch)
    generator = torch.Generator().manual_seed(1)
    cells = torch.arange(16).expand(batch, 16)
    masks = torch.rand(batch, 16, 16, 16, generator=generator) > 0.7
    content = torch.tensor([[0.0, 8.0, 64.0, 56.0]]).expand(batch, 4)
    return replace(made, box_masks=BoxMasks(cells, masks, content), **changes)


def flat(value: float, count: int = 1) -> torch.Tensor:
    return torch.full((count, SIDE, SIDE), value)


def test_projection_of_the_box_itself_and_of_nothing():
    bitmap = box_bitmap(BOX, side=SIDE, grid=SIDE)
    assert float(projection_loss(bitmap.float(), bitmap)) == pytest.approx(0, abs=1e-6)
    assert float(projection_loss(flat(0.0), bitmap)) == pytest.approx(2.0)
    apart = box_bitmap(torch.tensor([[300.0, 300.0, 350.0, 400.0]]), side=SIDE, grid=SIDE)
    assert float(projection_loss(apart.float(), bitmap)) == pytest.approx(2.0)


def test_projection_of_a_flat_mask_and_of_half_the_box():
    bitmap = box_bitmap(BOX, side=SIDE, grid=SIDE)
    assert float(projection_loss(flat(0.5), bitmap)) == pytest.approx(0.5 + 1 / 3, abs=1e-5)
    half = box_bitmap(torch.tensor([[100.0, 50.0, 151.0, 257.0]]), side=SIDE, grid=SIDE)
    assert float(projection_loss(half.float(), bitmap)) == pytest.approx(1 / 3, abs=1e-5)


def test_projection_cannot_see_holes():
    bitmap = torch.zeros(1, 200, 200, dtype=torch.bool)
    bitmap[0, 50:150, 50:150] = True
    diagonal = torch.zeros(1, 200, 200)
    diagonal[0, torch.arange(50, 150), torch.arange(50, 150)] = 1
    assert float(projection_loss(diagonal, bitmap)) == pytest.approx(0, abs=1e-6)


def test_mask_loss_of_zero_logits_with_the_released_factor():
    target = (torch.rand(40, 8, 8) > 0.5).float()
    loss = mask_loss(torch.zeros(40, 8, 8), target, torch.ones(40, dtype=torch.bool))
    assert WeakMCNConfig().weight_mask * float(loss) == pytest.approx(27.725887, abs=1e-4)


def test_inconsistent_phrases_do_not_teach_but_count_in_the_mean():
    logits = torch.stack([torch.full((2, 2), math.log(math.expm1(0.6))), torch.full((2, 2), math.log(math.expm1(0.2)))])
    target = torch.zeros(2, 2, 2)  # cross-entropies 0.6 and 0.2
    for trusted, expected in (((True, False), 0.6), ((True, True), 0.8), ((False, False), 0.0)):
        assert 2 * float(mask_loss(logits, target, torch.tensor(trusted))) == pytest.approx(expected, abs=1e-5)


def test_box_bitmap_holds_the_pixels_that_the_sides_cut():
    bitmap = box_bitmap(torch.tensor([[10.7, 20.2, 30.9, 40.0]]), side=SIDE, grid=SIDE)[0]
    assert bitmap.any(1).nonzero().flatten().tolist() == list(range(20, 41))
    assert bitmap.any(0).nonzero().flatten().tolist() == list(range(10, 31))


def test_boxes_are_clamped_to_the_image():
    clamped = cut_to(torch.tensor([[-5.0, 40.0, 420.0, 380.0]]), torch.tensor([[0.0, 52.0, 416.0, 364.0]]))
    assert clamped.tolist() == [[0, 52, 416, 364]]


def test_position_code():
    code = position_code(torch.tensor([[[0.0, 0.0], [0.3, 0.8]]]), width=512)
    assert code[0, 0].tolist() == [0.0, 1.0] * 256
    torch.testing.assert_close(code.square().sum(-1), torch.full((1, 2), 256.0))
    moved_right = position_code(torch.tensor([[[0.9, 0.8]]]), width=512)
    assert torch.equal(moved_right[0, 0, :256], code[0, 1, :256])  # y first


@torch.no_grad()
def test_attention_moves_with_the_map():
    torch.manual_seed(0)
    x, text = torch.randn(2, 8, 4, 6), torch.randn(2, 6)
    module = GlobalAttention(8, 6, heads=2).eval()
    torch.testing.assert_close(module(x.roll(1, 3), text).map, module(x, text).map.roll(1, 3))


@pytest.mark.parametrize(("mask_width", "expected"), [(256, 21_551_879), (512, 32_317_447)])
def test_parameters_at_paper_scale(mask_width, expected):
    model = WeakMCN(WeakMCNConfig(compat="released", mask_width=mask_width, aspp_width=mask_width), VOCABULARY)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("compat", ["released", "fixed"])
def test_what_gets_no_gradient(compat):
    model = weakmcn(compat=compat).train()
    terms = model.loss(masked_batch())
    assert set(terms) == {"contrast", "mask", "projection"}
    sum(terms.values()).backward()
    idle = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert idle == ({"mask_fusion", "unread"} if compat == "released" else set())


def test_the_mask_head_waits_for_the_warm_epochs():
    model = weakmcn(warm_epochs=3)
    assert set(model.loss(masked_batch(epoch=2))) == {"contrast"}
    assert set(model.loss(masked_batch(epoch=3))) == {"contrast", "mask", "projection"}


def test_the_target_is_the_mask_of_the_box_that_matches_best():
    model, batch = weakmcn().eval(), masked_batch()
    matched = model.match(batch)
    kept_cells = batch.detections.boxes[..., 4].mean(-1).topk(5, dim=1).indices.sort(dim=1).values
    best = kept_cells.gather(1, matched.scores.argmax(1, keepdim=True)).squeeze(1)
    target = model._target(batch, best)
    for row in range(4):
        assert torch.equal(target[row], batch.box_masks.masks[row, best[row]].float())


def test_suppression_starts_at_its_epoch():
    model = weakmcn(suppress_from_epoch=5, suppress_below=1.0).eval()  # nothing overlaps fully: all is suppressed
    assert float(model.loss(masked_batch(epoch=4))["mask"].detach()) > 0
    assert float(model.loss(masked_batch(epoch=5))["mask"].detach()) == 0


@pytest.mark.parametrize(("compat", "alpha"), [("released", 0.4), ("fixed", 0.3)])
def test_alpha_is_the_releases_or_the_papers_unless_it_is_set(compat, alpha):
    assert WeakMCNConfig(compat=compat).alpha == alpha
    assert WeakMCNConfig(compat=compat, suppress_below=0.2).alpha == 0.2


def test_overlap_of_masks():
    one, other = torch.zeros(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
    one[0, :2], other[0, 1:3] = True, True
    assert float(overlap(one, other)) == pytest.approx(1 / 3)


def test_without_masks_it_says_what_is_missing():
    with pytest.raises(DataError, match="segment_candidates"):
        weakmcn().loss(teacher_batch())


@torch.no_grad()
def test_masks_of_one_phrase_do_not_depend_on_the_batch():
    model, batch = weakmcn().eval(), teacher_batch()
    assert model.match(batch).masks.shape == (4, 64, 64)
    reordered = replace(batch, tokens=batch.tokens.flip(0), image_of=batch.image_of.flip(0))
    torch.testing.assert_close(model.match(reordered).masks.flip(0), model.match(batch).masks, atol=1e-5, rtol=1e-4)
