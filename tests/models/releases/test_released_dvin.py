"""A released DViN, imported, answers as its authors' network does, which runs all experts and uses one of them."""

import torch
from torch.nn import functional as F

from models.loading.teachers import load_teacher
from tests.models.releases import layouts, reference
from tests.models.releases.files import import_state
from tests.models.releases.teacher_input import of_phrases, teacher_input

CHANNELS = (8, 16, 32)  # of the fine, middle and coarse map; 256, 512 and 1024 in the release
WIDTH, JOINT, CODE = 32, 16, 8  # 1024, 512 and 128
EXPERTS = {  # width and cells a side, in the order of the router
    "contrastive_vit": (768, 13), "distilled_vit": (768, 26), "segmentation_vit": (256, 26),
    "contrastive_convnet": (768, 13),
}  # fmt: skip


def released(channels: tuple[int, int, int] = CHANNELS) -> dict[str, torch.Tensor]:
    shapes = layouts.text(words=len(layouts.TOKENS), word_width=12, width=JOINT, feedforward=24, layers=3)
    shapes |= layouts.fusion("multi_scale_manner", channels, WIDTH)
    for name, inputs, outputs in (
        ("linear_vs", WIDTH, JOINT), ("linear_ts", JOINT, JOINT), ("linear", 768, WIDTH), ("linear_sam", 256, WIDTH),
        ("linear_router", WIDTH, 4), ("linear_decoder.0", WIDTH, WIDTH), ("linear_decoder.2", WIDTH, WIDTH),
        ("linear_decoder.4", WIDTH, JOINT), ("projector_expert.2", WIDTH, WIDTH), ("projector_expert.4", WIDTH, CODE),
        ("projector_yolo.2", WIDTH, WIDTH), ("projector_yolo.4", WIDTH, CODE),
    ):  # fmt: skip
        shapes |= layouts.linear(name, inputs, outputs)
    return layouts.draw(shapes)


def tell_apart(state, asked) -> None:
    """Let the router send the two images to different experts."""
    coarse, middle, fine = asked.detections.maps
    one, other = reference.fusion(state, "multi_scale_manner", [fine, middle, coarse])[2].mean((2, 3))
    apart = 3 * (one - other) / (one - other).norm() ** 2
    state["linear_router.weight"][1], state["linear_router.weight"][2] = apart, -apart
    state["linear_router.bias"][1] = -apart @ (one + other) / 2 + 1
    state["linear_router.bias"][2] = apart @ (one + other) / 2 + 1


def expert_map(state, name: str, x: torch.Tensor) -> torch.Tensor:
    layer = "linear_sam" if name == "segmentation_vit" else "linear"
    projected = reference.affine(state, layer, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return F.avg_pool2d(projected, 2) if x.shape[-1] == 26 else projected


def answer(state, asked) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores of the kept cells, the chosen box of each phrase, and the expert that was chosen for it."""
    maps, boxes = of_phrases(asked)
    coarse = reference.fusion(state, "multi_scale_manner", maps)[2]
    experts = torch.stack([expert_map(state, name, asked.experts.stored[name][asked.image_of]) for name in EXPERTS], 1)
    shares, order = reference.affine(state, "linear_router", coarse.mean((2, 3))).softmax(1).topk(2, dim=1)
    shares = shares / shares.sum(1, keepdim=True)
    chosen = experts[torch.arange(3), order[:, 0]]
    mixed = coarse * shares[:, 0, None, None, None] + chosen * shares[:, 1, None, None, None]
    cells = reference.kept_cells(boxes, 17)
    anchors = mixed.flatten(2).transpose(1, 2).gather(1, cells[..., None].expand(-1, -1, WIDTH))
    phrase = reference.affine(state, "linear_ts", reference.text(state, asked.tokens))
    scores = torch.einsum("bkd,bd->bk", reference.affine(state, "linear_vs", anchors), phrase)
    return scores, reference.chosen_boxes(boxes, cells, scores), order[:, 0]


@torch.no_grad()
def test_it_answers_as_released(tmp_path):
    state, asked = released(), teacher_input(CHANNELS, EXPERTS)
    tell_apart(state, asked)
    folder, report = import_state("dvin", state, tmp_path)
    assert report.read == len(state) and not report.unread
    assert report.lacking == ["detector", *EXPERTS, "segmenter"]
    found = load_teacher(folder, torch.device("cpu")).match(asked)
    scores, chosen, expert = answer(state, asked)
    assert len(expert.unique()) == 2 and torch.equal(found.experts[:, 0], expert)
    torch.testing.assert_close(found.scores, scores, atol=1e-4, rtol=1e-4)
    best = found.boxes_xyxy[torch.arange(3), found.scores.argmax(1)]
    torch.testing.assert_close(best, chosen, atol=1e-4, rtol=1e-4)
