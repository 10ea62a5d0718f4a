"""A released MCN of SimREC's framework, imported, answers with its authors' boxes and masks."""

import torch

from models.loading.students import load_student
from tests.models.releases import layouts, reference
from tests.models.releases.files import import_state
from tests.models.releases.student_input import student_input

WIDTHS = (8, 8, 8, 16, 32)  # 64, 128, 256, 512 and 1024 in the release
WIDTH, TEXT, MASK, SIDE = 16, 16, 8, 128  # 512, 512, 256 and 416
ANCHORS = torch.tensor([[137.0, 256.0], [248.0, 272.0], [386.0, 271.0]])


def released() -> dict[str, torch.Tensor]:
    shapes = layouts.text(words=len(layouts.TOKENS), word_width=12, width=TEXT, feedforward=24, layers=3)
    shapes |= layouts.darknet_backbone("visual_encoder.module_list", stem=4, widths=WIDTHS, blocks=(1, 2, 2, 1, 1))
    shapes |= layouts.product("fusion_manner", WIDTHS[-1], TEXT, WIDTHS[-1])
    shapes |= layouts.fusion("multi_scale_manner", WIDTHS[2:], WIDTH)
    shapes |= layouts.attention("det_garan", TEXT, WIDTH) | layouts.attention("seg_garan", TEXT, WIDTH)
    shapes |= layouts.conv("head.dconv", WIDTH, 15, 1) | layouts.mask_head("head.sconv.0", WIDTH, MASK)
    return layouts.draw(shapes | layouts.conv("head.d_proj", WIDTH, 1, 3) | layouts.conv("head.s_proj", WIDTH, 1, 3))


def answer(state, asked) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Corners and objectness of the most certain anchor, and mask logits, of each phrase."""
    images = asked.squares[asked.image_of] / 255
    fine, middle, coarse = reference.darknet_backbone(state, "visual_encoder.module_list", images)
    phrase = reference.text(state, asked.tokens)
    merged = reference.product(state, "fusion_manner", coarse, phrase)
    fine, _, coarse = reference.fusion(state, "multi_scale_manner", [fine, middle, merged], bilinear=True)
    logits = reference.mask_head(state, "head.sconv.0", reference.attention(state, "seg_garan", phrase, fine))
    x = reference.convolve(state, "head.dconv", reference.attention(state, "det_garan", phrase, coarse))
    raw = x.unflatten(1, (3, 5))  # phrases, anchors, values, rows, columns
    rows, columns = torch.meshgrid(*(torch.arange(float(side)) for side in x.shape[2:]), indexing="ij")
    centre_x, centre_y = 32 * (raw[:, :, 0].sigmoid() + columns), 32 * (raw[:, :, 1].sigmoid() + rows)
    width, height = (raw[:, :, 2 + axis].exp() * ANCHORS[:, axis, None, None] for axis in (0, 1))
    corners = torch.stack(
        [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2], -1
    ).flatten(1, 3)
    scores, best = raw[:, :, 4].sigmoid().flatten(1).max(1)
    return corners[torch.arange(len(best)), best], scores, logits


@torch.no_grad()
def test_it_answers_as_released(tmp_path):
    state, asked = released(), student_input(SIDE)
    folder, report = import_state("mcn", state, tmp_path, settings=[f"input_size={SIDE}"])
    assert len(report.unread) == 2 + 2 + 6  # both attentions' map convolution, and a projection of the fusion
    found = load_student(folder, torch.device("cpu")).predict(asked)
    corners, scores, logits = answer(state, asked)
    torch.testing.assert_close(found.boxes_xyxy, corners, atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(found.scores, scores, atol=1e-4, rtol=1e-4)
    assert logits.shape == (3, SIDE, SIDE) and logits.std() > 0.05 and found.mask_threshold == 0.35
    torch.testing.assert_close(found.masks, logits.sigmoid(), atol=1e-4, rtol=1e-4)
