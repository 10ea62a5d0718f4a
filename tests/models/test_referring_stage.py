"""PCNet's conditional referring module."""

import pytest
import torch
from torch.nn import functional as F

from models.map_blocks.referring_stage import Attention, ReferringStage, StageState, stage_scores


@torch.no_grad()
def test_28_the_order_of_cues_does_not_matter():
    torch.manual_seed(0)
    attend, texts, cues = Attention(8), torch.randn(2, 1, 8), torch.randn(2, 5, 8)
    torch.testing.assert_close(attend(texts, cues[:, [3, 1, 4, 0, 2]]), attend(texts, cues))


@torch.no_grad()
def test_28_a_single_cue_has_the_whole_weight():
    torch.manual_seed(0)
    attend, cue = Attention(8), torch.randn(3, 1, 8)
    expected = attend.output(attend.value(cue))
    torch.testing.assert_close(attend(torch.randn(3, 4, 8), cue), expected.expand(-1, 4, -1))


@torch.no_grad()
def test_images_do_not_read_each_other():
    torch.manual_seed(0)
    stage = ReferringStage(8)
    state = StageState(torch.randn(3, 16, 8), F.normalize(torch.randn(3, 5, 8), dim=-1))
    cues = F.normalize(torch.randn(5, 8), dim=-1).expand(3, -1, -1)
    whole = stage(state, cues)
    alone = stage(StageState(state.pixels[1:2], state.texts[1:2]), cues[1:2])
    torch.testing.assert_close(whole.pixels[1:2], alone.pixels)
    torch.testing.assert_close(whole.texts[1:2], alone.texts)
    assert stage_scores(whole, 2.0).shape == (3, 16, 5)


@pytest.mark.parametrize(
    ("modulation", "reads_pixels", "reads_all_cues"),
    [("add", False, False), ("tta", False, True), ("vta_add", True, False), ("vta_tta", True, True)],
)
@torch.no_grad()
def test_modulation_says_what_a_phrase_may_depend_on(modulation, reads_pixels, reads_all_cues):
    torch.manual_seed(0)
    stage = ReferringStage(8, modulation=modulation)
    state = StageState(torch.randn(2, 4, 8), F.normalize(torch.randn(2, 3, 8), dim=-1))
    cues = F.normalize(torch.randn(2, 3, 8), dim=-1)
    texts = stage(state, cues).texts
    other_pixels = stage(state._replace(pixels=state.pixels + torch.randn(8)), cues).texts
    assert torch.equal(other_pixels, texts) is not reads_pixels
    changed = cues.clone()
    changed[:, 0] = -changed[:, 0]
    other_cue = stage(state, changed).texts
    assert not torch.allclose(other_cue[:, 0], texts[:, 0])  # its own
    assert torch.allclose(other_cue[:, 1:], texts[:, 1:]) is not reads_all_cues


@torch.no_grad()
def test_add_moves_a_phrase_towards_its_cue():
    torch.manual_seed(0)
    state = StageState(torch.randn(1, 4, 8), F.normalize(torch.randn(1, 3, 8), dim=-1))
    cues = F.normalize(torch.randn(1, 3, 8), dim=-1)
    expected = F.normalize(state.texts + 0.1 * cues, dim=-1)
    torch.testing.assert_close(ReferringStage(8, modulation="add")(state, cues).texts, expected)


@torch.no_grad()
def test_texts_stay_of_unit_length():
    torch.manual_seed(0)
    state = ReferringStage(8)(StageState(torch.randn(2, 4, 8), torch.randn(2, 3, 8)), torch.randn(2, 3, 8))
    assert state.texts.norm(dim=-1).flatten().tolist() == pytest.approx([1.0] * 6, abs=1e-5)
