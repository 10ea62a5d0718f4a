"""TRIS step 2 at known values, and what its answers may depend on."""

from dataclasses import replace

import pytest
import torch

from models.blocks.csp_darknet import CSPConfig
from models.students.tris import TRISSegmenter, TRISSegmenterConfig, mask_loss
from models.text.gru_attention import TextConfig
from tests.factories import VOCABULARY, alone_in_batch, student_batch

CONFIG = TRISSegmenterConfig(
    input_size=64,
    resize_sides=(64,),
    backbone=CSPConfig(stem=8, widths=(8, 8, 16), blocks=(1, 1, 1)),
    decoder_widths=(8, 8, 8, 8),
    text=TextConfig(length=6, word_width=8, width=8, heads=2, feedforward=8, layers=1, pool_hidden=4),
)


def model(**changes: object) -> TRISSegmenter:
    torch.manual_seed(0)
    return TRISSegmenter(replace(CONFIG, **changes), VOCABULARY)


def with_masks(batch, *rows: int):
    masks = torch.zeros(len(batch.tokens), 64, 64)
    masks[list(rows), 20:40, 10:30] = 1.0
    return replace(batch, masks=masks)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_R1_zero_logits(share):
    target = (torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) < share).float()
    assert mask_loss([torch.zeros(3, 8, 8)] * 4, target).item() == pytest.approx(2.772589, abs=1e-4)


def test_R2_negative_logits_draw_nothing():
    silent = model().eval()
    for head in silent.decoder.heads:
        torch.nn.init.zeros_(head[1].weight)
    silent.decoder.heads[3][1] = torch.nn.Conv2d(8, 1, 1)
    torch.nn.init.zeros_(silent.decoder.heads[3][1].weight)
    torch.nn.init.constant_(silent.decoder.heads[3][1].bias, -2.0)
    grounding = silent.predict(student_batch())
    assert not (grounding.masks > grounding.mask_threshold).any()
    assert (grounding.boxes_xyxy[:, 2:] == grounding.boxes_xyxy[:, :2]).all()  # no area


def test_four_outputs_and_every_part_learns():
    student, batch = model(), with_masks(student_batch(), 0, 1, 2, 3)
    outputs = student._outputs(student._look(batch.squares), batch, 64)
    assert [tuple(x.shape) for x in outputs] == [(4, 64, 64)] * 4
    student.loss(batch)["mask"].backward()
    silent = [name for name, p in student.named_parameters() if p.requires_grad and p.grad is None]
    assert all(
        name.startswith(("text_encoder.pool", "text_encoder.project")) for name in silent
    )  # words are read, no pool


def test_labels_without_a_mask_are_left_out():
    student = model().eval()
    batch = student_batch()
    some = student.loss(with_masks(batch, 1))["mask"]
    one = student.loss(with_masks(alone_in_batch(batch, 1), 0))["mask"]
    assert some.item() == pytest.approx(one.item(), abs=1e-4)
    assert student.loss(with_masks(batch))["mask"].item() == 0.0


def test_batched_equals_single():
    student, batch = model().eval(), student_batch()
    whole = student.predict(batch)
    for row in range(4):
        single = student.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(single.masks[0], whole.masks[row], atol=1e-4, rtol=1e-4)
        x, y = single.points_xy[0].long()  # of pixels that are as high, rounding decides which one it is
        torch.testing.assert_close(whole.masks[row, y, x], whole.masks[row].max(), atol=1e-4, rtol=1e-4)


def test_padding_changes_nothing():
    student, batch = model().eval(), student_batch()
    padded = replace(batch, tokens=torch.cat([batch.tokens, torch.zeros(4, 3, dtype=torch.long)], 1))
    torch.testing.assert_close(student.predict(padded).masks, student.predict(batch).masks, atol=1e-5, rtol=1e-4)
    nothing = replace(batch, tokens=torch.zeros_like(batch.tokens))
    assert student.predict(nothing).masks.isfinite().all()


def test_the_box_is_that_of_the_part_with_the_peak():
    student, batch = model().eval(), student_batch()
    logits = torch.full((4, 64, 64), -1.0)
    logits[:, 5:10, 5:30] = 1.0
    logits[:, 30:50, 40:60] = 2.0
    student._outputs = lambda *_: [logits]
    grounding = student.predict(batch)
    assert grounding.boxes_xyxy.tolist() == [[40.0, 30.0, 60.0, 50.0]] * 4
    assert grounding.points_xy.tolist() == [[40.5, 30.5]] * 4
