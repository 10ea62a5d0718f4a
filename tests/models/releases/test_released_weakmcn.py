"""A released WeakMCN, imported, answers with its authors' boxes and masks."""

import math

import torch
from torch.nn import functional as F

from deixis.core.records import read_json
from models.experts.efficient_sam_vit import EfficientSAMViT, EfficientSAMViTConfig
from models.frozen.experts import load_expert
from models.loading.teachers import load_teacher
from tests.models.releases import layouts, reference
from tests.models.releases.files import import_state
from tests.models.releases.teacher_input import of_phrases, teacher_input

CPU = torch.device("cpu")
CHANNELS = (8, 16, 32)  # of the fine, middle and coarse map; 256, 512 and 1024 in the release
WIDTH, TEXT, JOINT, MASK = 32, 16, 16, 16  # 512 each, but for 256 of the mask head
EXPERTS = {"distilled_vit": (24, 26), "segmentation_vit": (12, 26)}  # width and cells a side; 768 and 256 wide


def released(
    channels: tuple[int, int, int] = CHANNELS, *, distilled: int = EXPERTS["distilled_vit"][0]
) -> dict[str, torch.Tensor]:
    shapes = layouts.text(words=len(layouts.TOKENS), word_width=12, width=TEXT, feedforward=24, layers=3)
    shapes |= layouts.fusion("multi_scale_manner", channels, WIDTH)
    shapes |= layouts.fusion("multi_scale_manner_sup", (MASK, MASK, MASK), MASK)
    for number in range(3):
        shapes |= layouts.product(f"fusion_manner.{number}", WIDTH, TEXT, MASK)
    shapes |= layouts.attention("attention_manner", TEXT, MASK) | layouts.mask_head("seg_head.sconv.0", MASK, MASK)
    shapes |= layouts.linear("linear_vs", WIDTH, JOINT) | layouts.linear("linear_ts", TEXT, JOINT)
    for branch in ("rec", "res"):
        shapes |= layouts.linear(f"linear_router_{branch}", WIDTH, 2)
        shapes |= layouts.linear(f"linear_dino_{branch}", distilled, WIDTH)
        shapes |= layouts.linear(f"linear_sam_{branch}", EXPERTS["segmentation_vit"][0], WIDTH)
    return layouts.draw(shapes)


def enhanced(state, branch: str, x: torch.Tensor, experts: dict[str, torch.Tensor]) -> torch.Tensor:
    """A detector map plus what the router weighs of both experts."""
    shares = reference.affine(state, f"linear_router_{branch}", x.mean((2, 3))).softmax(1)
    for column, (layer, name) in enumerate((("dino", "distilled_vit"), ("sam", "segmentation_vit"))):
        cells = experts[name].permute(0, 2, 3, 1)
        y = reference.affine(state, f"linear_{layer}_{branch}", cells).permute(0, 3, 1, 2)
        y = F.avg_pool2d(y, 2) if branch == "rec" else F.interpolate(y, size=(52, 52), mode="bilinear")
        x = x + shares[:, column, None, None, None] * y
    return x


def position_code(places: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of y, then of x, each in JOINT / 2 values: [phrases, cells, JOINT]."""
    half = JOINT // 2
    period = 10000 ** (2 * torch.div(torch.arange(half), 2, rounding_mode="floor") / half)
    halves = []
    for axis in (1, 0):
        angle = places[..., axis, None] * 2 * math.pi / period
        halves.append(torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], 3).flatten(2))
    return torch.cat(halves, 2)


def answer(state, asked) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores of the kept cells, the chosen box of each phrase, and its mask logits in 416 pixels."""
    maps, boxes = of_phrases(asked)
    experts = {name: asked.experts.stored[name][asked.image_of] for name in EXPERTS}
    fine, middle, coarse = reference.fusion(state, "multi_scale_manner", maps)
    coarse, fine = enhanced(state, "rec", coarse, experts), enhanced(state, "res", fine, experts)
    cells = reference.kept_cells(boxes, 17)
    inside = boxes.gather(1, cells[..., None, None].expand(-1, -1, 4, boxes.shape[-1]))
    anchors = coarse.flatten(2).transpose(1, 2).gather(1, cells[..., None].expand(-1, -1, WIDTH))
    anchors = reference.affine(state, "linear_vs", anchors) + position_code(inside[..., :2].mean(2) / 416)
    phrase = reference.text(state, asked.tokens)
    scores = torch.einsum("bkd,bd->bk", anchors, reference.affine(state, "linear_ts", phrase))
    merged = [
        reference.product(state, f"fusion_manner.{number}", x, phrase)
        for number, x in enumerate((fine, middle, coarse))
    ]
    looked = reference.fusion(state, "multi_scale_manner_sup", merged)[0]
    attended = reference.attention(state, "attention_manner", phrase, looked)
    return (
        scores,
        reference.chosen_boxes(boxes, cells, scores),
        reference.mask_head(state, "seg_head.sconv.0", attended),
    )


@torch.no_grad()
def test_it_answers_as_released(tmp_path):
    state, asked = released(), teacher_input(CHANNELS, EXPERTS)
    folder, report = import_state("weakmcn", state, tmp_path)
    assert report.read == len(state) and not report.unread
    found = load_teacher(folder, CPU).match(asked)
    scores, chosen, logits = answer(state, asked)
    torch.testing.assert_close(found.scores, scores, atol=1e-4, rtol=1e-4)
    best = found.boxes_xyxy[torch.arange(3), found.scores.argmax(1)]
    torch.testing.assert_close(best, chosen, atol=1e-4, rtol=1e-4)
    assert logits.shape == (3, 416, 416) and logits.std() > 0.05
    torch.testing.assert_close(found.masks, logits.sigmoid(), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_experts_of_the_file_are_written_beside_it(tmp_path):
    """Its own EfficientSAM, here a narrow one; the decoder of masks, which only training asked, is left out."""
    torch.manual_seed(0)
    config = EfficientSAMViTConfig(width=64, depth=1, heads=1, neck_width=12)
    encoder = EfficientSAMViT(config).eval()
    state = released() | {f"efficientsam.image_encoder.{name}": t for name, t in encoder.state_dict().items()}
    state["efficientsam.mask_decoder.iou_token.weight"] = torch.zeros(1, 12)
    folder, report = import_state("weakmcn", state, tmp_path)
    assert report.carried == {"segmentation_vit": folder / "weights/segmentation_vit"}
    assert report.lacking == ["detector", "distilled_vit", "segmenter"]
    assert read_json(folder / "weights/segmentation_vit/config.json", made_by="")["kind"] == "efficient_sam_vit"
    squares = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    written = load_expert("segmentation_vit", folder / "weights/segmentation_vit", CPU)
    torch.testing.assert_close(written.encode(squares), encoder.encode(squares))
