"""A released SimREC, imported, answers as its authors' network does."""

import torch

from models.loading.students import load_student
from tests.models.releases import layouts, reference
from tests.models.releases.files import import_state
from tests.models.releases.student_input import student_input

WIDTHS = (8, 16, 16, 32)  # 128, 256, 512 and 1024 in the release
WIDTH, TEXT, HEAD = 16, 16, 8  # 512, 512 and 256
UNREAD = 2 + 6 + 6  # GARAN's map convolution, and two projections of the fusion


def released() -> dict[str, torch.Tensor]:
    shapes = layouts.text(words=len(layouts.TOKENS), word_width=12, width=TEXT, feedforward=24, layers=1)
    shapes |= layouts.csp_backbone("visual_encoder.model", stem=4, widths=WIDTHS, blocks=(1, 2, 1, 1))
    for number, width in enumerate(WIDTHS[1:]):
        shapes |= layouts.product(f"fusion_manner.{number}", width, TEXT, WIDTH)
    shapes |= layouts.fusion("multi_scale_manner", (WIDTH, WIDTH, WIDTH), WIDTH)
    shapes |= layouts.attention("attention_manner", TEXT, WIDTH)
    shapes |= layouts.silu("head.stems.0", WIDTH, HEAD, 1)
    shapes |= layouts.silu("head.reg_convs.0.0", HEAD, HEAD, 3) | layouts.silu("head.reg_convs.0.1", HEAD, HEAD, 3)
    shapes |= layouts.conv("head.reg_preds.0", HEAD, 4, 1) | layouts.conv("head.obj_preds.0", HEAD, 1, 1)
    return layouts.draw(shapes)


def answer(state, asked) -> tuple[torch.Tensor, torch.Tensor]:
    """Corners and objectness of the best cell for each phrase."""
    maps = reference.csp_backbone(state, "visual_encoder.model", asked.squares[asked.image_of] / 255)
    phrase = reference.text(state, asked.tokens)
    merged = [reference.product(state, f"fusion_manner.{number}", x, phrase) for number, x in enumerate(maps)]
    coarse = reference.fusion(state, "multi_scale_manner", merged, bilinear=True)[2]
    x = reference.silu(state, "head.stems.0", reference.attention(state, "attention_manner", phrase, coarse))
    for number in range(2):
        x = reference.silu(state, f"head.reg_convs.0.{number}", x, padding=1)
    boxes = reference.convolve(state, "head.reg_preds.0", x)
    objectness = reference.convolve(state, "head.obj_preds.0", x)[:, 0].sigmoid()
    corners = []
    for row, place in enumerate(objectness.flatten(1).argmax(1).tolist()):
        down, right = divmod(place, x.shape[-1])
        dx, dy, width, height = boxes[row, :, down, right].tolist()
        x0, y0 = (right + dx) * 32, (down + dy) * 32
        width, height = (32 * torch.tensor([width, height]).exp()).tolist()
        corners.append([x0 - width / 2, y0 - height / 2, x0 + width / 2, y0 + height / 2])
    return torch.tensor(corners), objectness.flatten(1).amax(1)


@torch.no_grad()
def test_it_answers_as_released(tmp_path):
    state, asked = released(), student_input(128)
    folder, report = import_state("simrec", state, tmp_path, settings=["input_size=128"])
    assert len(report.unread) == UNREAD
    assert "attention_manner.w_m.weight" in report.unread and "multi_scale_manner.mid_proj.conv.weight" in report.unread
    found = load_student(folder, torch.device("cpu")).predict(asked)
    corners, scores = answer(state, asked)
    assert corners.std() > 1
    torch.testing.assert_close(found.boxes_xyxy, corners, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found.scores, scores, atol=1e-4, rtol=1e-4)
