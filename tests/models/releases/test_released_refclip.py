"""A released RefCLIP, imported, answers as its authors' network does."""

import pytest
import torch

from models.loading.teachers import load_teacher
from tests.models.releases import layouts, reference
from tests.models.releases.files import import_state
from tests.models.releases.teacher_input import of_phrases, teacher_input

CHANNELS = (8, 16, 32)  # of the fine, middle and coarse map; 256, 512 and 1024 in the release
WIDTH, JOINT = 32, 16  # 1024 and 512
CPU = torch.device("cpu")


def released() -> dict[str, torch.Tensor]:
    shapes = layouts.text(words=len(layouts.TOKENS), word_width=12, width=JOINT, feedforward=24, layers=3)
    shapes |= layouts.linear("linear_vs", WIDTH, JOINT) | layouts.linear("linear_ts", JOINT, JOINT)
    return layouts.draw(shapes | layouts.fusion("multi_scale_manner", CHANNELS, WIDTH))


def answer(state, asked) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of the kept cells, and the chosen box of each phrase."""
    maps, boxes = of_phrases(asked)
    fused = reference.fusion(state, "multi_scale_manner", maps)[2]
    cells = reference.kept_cells(boxes, 17)
    anchors = fused.flatten(2).transpose(1, 2).gather(1, cells[..., None].expand(-1, -1, WIDTH))
    phrase = reference.affine(state, "linear_ts", reference.text(state, asked.tokens))
    scores = torch.einsum("bkd,bd->bk", reference.affine(state, "linear_vs", anchors), phrase)
    return scores, reference.chosen_boxes(boxes, cells, scores)


@torch.no_grad()
def test_it_answers_as_released(tmp_path):
    state = released()
    folder, report = import_state("refclip", state, tmp_path)
    assert report.read == len(state) and not report.unread
    teacher, asked = load_teacher(folder, CPU), teacher_input(CHANNELS)
    assert teacher.vocabulary == layouts.TOKENS
    found = teacher.match(asked)
    scores, chosen = answer(state, asked)
    assert scores.std() > 0.1
    torch.testing.assert_close(found.scores, scores, atol=1e-4, rtol=1e-4)
    best = found.boxes_xyxy[torch.arange(3), found.scores.argmax(1)]
    torch.testing.assert_close(best, chosen, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_no_tensor_tells_is_set(tmp_path):
    folder, _ = import_state("refclip", released(), tmp_path, settings=["keep_fraction=0.2", "text.length=20"])
    teacher = load_teacher(folder, CPU)
    assert teacher.text_length == 20 and teacher.match(teacher_input(CHANNELS)).scores.shape == (3, 34)


def test_parallel_training_prefixes_its_names(tmp_path):
    state = {f"module.{name}": tensor for name, tensor in released().items()}
    assert import_state("refclip", state, tmp_path)[1].read == len(state)


@pytest.mark.parametrize("layers", [1, 3])
def test_referit_has_one_attention_layer(tmp_path, layers):
    state = {
        n: t for n, t in released().items() if not n.startswith(("lang_encoder.sa_list.1", "lang_encoder.sa_list.2"))
    }
    folder, _ = import_state("refclip", released() if layers == 3 else state, tmp_path)
    assert len(load_teacher(folder, CPU).text_encoder.layers) == layers
