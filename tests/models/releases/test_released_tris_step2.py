"""A released TRIS (second step), imported, draws the masks of its authors' network, of stretched images."""

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from answering.predictor import Predictor
from deixis.language.tokens import encode
from deixis.types import StudentBatch
from models.loading.students import load_student, phrase_reader
from models.students.tris import TRISSegmenterConfig
from tests.models.releases import clip, layouts
from tests.models.releases.files import import_state
from tests.models.releases.reference import batch_norm, convolve

SIDE = 96  # 320 in the release
CHANNELS = [4 * clip.VISUAL * 2**stage for stage in range(4)]  # 256, 512, 1024 and 2048
REDUCED, LAST, HIDDEN = (8, 16, 24, 32), 4, (4, 4, 8, 8)  # fine to coarse; 64, 128, 256 and 512; 32; 32, 32, 64 and 64
PIXELS, WORDS = ("Wq", "Wm", "Ww", "Wo"), ("Wk", "Wv")


def block(name: str, inputs: int, outputs: int) -> layouts.Shapes:
    """ConvBNRelu, whose activation is PReLU."""
    return (
        layouts.conv(f"{name}.conv", inputs, outputs, 3, bias=False)
        | layouts.norm(f"{name}.bn", outputs)
        | {f"{name}.relu.weight": (1,)}
    )


def released() -> dict[str, torch.Tensor]:
    shapes = clip.clip()
    grown = (LAST, *REDUCED[:3])  # what each level grows to, fine to coarse
    for level in range(1, 5):
        shapes |= block(f"reduced_c{level}", CHANNELS[level - 1], REDUCED[level - 1])
        shapes |= block(f"output{level}", REDUCED[level - 1], grown[level - 1])
        shapes |= block(f"final_seg{level}.0", grown[level - 1], HIDDEN[level - 1])
        shapes |= layouts.conv(f"final_seg{level}.1", HIDDEN[level - 1], 1, 1, bias=False)
    for level in (2, 3, 4):
        width = CHANNELS[level - 1]
        for part in WORDS:
            shapes |= {
                f"attention{level}.{part}.weight": (width, clip.INNER, 1),
                f"attention{level}.{part}.bias": (width,),
            }
        for part in PIXELS:
            shapes |= layouts.conv(f"attention{level}.{part}", width, width, 1)
        for part in ("ins_q", "ins_w"):
            shapes |= {f"attention{level}.{part}.weight": (width,), f"attention{level}.{part}.bias": (width,)}
    return layouts.draw(shapes)


def attend(state, name: str, x: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """PixelAttention: pixels [batch, width, h, w], words [batch, length, inner], empty places among them."""

    def norm(part: str, y: torch.Tensor) -> torch.Tensor:
        return F.instance_norm(y, weight=state[f"{name}.{part}.weight"], bias=state[f"{name}.{part}.bias"])

    key, value = (
        F.conv1d(words.transpose(1, 2), state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"]) for part in WORDS
    )
    query = norm("ins_q", convolve(state, f"{name}.Wq", x)).flatten(2).transpose(1, 2)
    weights = (query @ key / x.shape[1] ** 0.5).softmax(2)
    read = (weights @ value.transpose(1, 2)).transpose(1, 2).reshape(x.shape)
    gate = norm("ins_w", convolve(state, f"{name}.Ww", read))
    return convolve(state, f"{name}.Wo", convolve(state, f"{name}.Wm", x).relu() * gate).relu()


def through(state, name: str, x: torch.Tensor) -> torch.Tensor:
    y = batch_norm(state, f"{name}.bn", convolve(state, f"{name}.conv", x, padding=1))
    return F.prelu(y, state[f"{name}.relu.weight"])


def answer(state, squares: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of the last output over the input: [phrases, side, side]."""
    words, _ = clip.read(state, tokens)
    maps = clip.look(state, squares)
    x = None
    for level in (4, 3, 2, 1):
        own = maps[level - 1]
        own = own if level == 1 else attend(state, f"attention{level}", own, words) + own
        own = through(state, f"reduced_c{level}", own)
        joined = own if x is None else x + own
        x = through(state, f"output{level}", joined)
        if level > 1:
            x = F.interpolate(x, size=maps[level - 2].shape[-2:], mode="bilinear")
    logits = convolve(state, "final_seg1.1", through(state, "final_seg1.0", x))
    return F.interpolate(logits, size=squares.shape[-2:], mode="bilinear")[:, 0]


def imported(folder):
    return import_state(
        "tris_step2",
        released(),
        folder,
        tokens=clip.write_merges(folder),
        inside="model",
        settings=[f"input_size={SIDE}"],
    )


@torch.no_grad()
def test_it_draws_as_released(tmp_path):
    state, (folder, report) = released(), imported(tmp_path)
    assert all("attnpool" in name or name == "backbone.logit_scale" for name in report.unread)
    student = load_student(folder, torch.device("cpu"))
    tokens = encode(["red ball", "ball", "red red red"], student.vocabulary, student.text_length)
    squares = torch.randint(256, (2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    image_of = torch.tensor([0, 0, 1])
    content = torch.tensor([[0.0, 0.0, SIDE, SIDE]] * 2)
    found = student.predict(StudentBatch(squares=squares, content_xyxy=content, tokens=tokens, image_of=image_of))
    expected = answer(state, squares[image_of], tokens)
    assert expected.std((1, 2)).min() > 0.05
    torch.testing.assert_close(found.masks, expected.sigmoid(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.scores, expected.sigmoid().amax((1, 2)), atol=1e-4, rtol=1e-4)


def test_it_stretches_images_to_its_square_and_answers_in_theirs(world, tmp_path):
    folder, _ = imported(tmp_path)
    student = load_student(folder, torch.device("cpu"))
    images = pd.DataFrame({"image_id": [4], "path": ["4.png"], "width": [64], "height": [100]})
    table = pd.DataFrame({"image_id": [4], "text": ["red ball"]})
    options = {"image_root": world / "data/raw/toy/images", "device": torch.device("cpu"), "candidates": None}
    batch = phrase_reader(student, table, images, **options).batch([0])
    assert batch.content_xyxy.tolist() == [[0, 0, SIDE, SIDE]]
    answer = Predictor(folder).predict(world / "data/raw/toy/images/4.png", ["red ball"], with_masks=False)[0]
    assert answer.mask.shape == (100, 64)


def test_one_tower_of_clip_needs_the_other():
    with pytest.raises(ValueError, match="one of backbone and text"):
        TRISSegmenterConfig(backbone={"kind": "clip_resnet"})
