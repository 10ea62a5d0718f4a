"""TRIS's image-level classification (ICCV 2023) at known values."""

import math

import pytest
import torch

from models.map_blocks.text_bank import (
    LARGEST_SCALE,
    SCALE,
    BilateralPrompt,
    TextBank,
    classification_loss,
    focal_penalty,
    image_logits,
)


def test_1_focal_penalty():
    penalty = focal_penalty(torch.tensor([0.0, 0.1, 0.25, 0.5, 0.9, 0.99]))
    assert penalty.tolist() == pytest.approx([-4.605170, -1.609103, -0.568297, -0.084168, -9.43e-5, 0], abs=1e-4)


def test_2_logits_and_loss_of_two_images():
    scores = torch.zeros(2, 4, 2)
    scores[0, 0, 0] = 2
    scores[1, :, 1] = 1
    logits = image_logits(scores)
    expected = [[0.325266, 0.181464], [0.155362, 0.422319]]
    torch.testing.assert_close(logits.shares, torch.tensor(expected), atol=1e-4, rtol=0)
    expected = [[2.164301, -0.906570], [-1.084404, 1.838335]]
    torch.testing.assert_close(logits.logits, torch.tensor(expected), atol=1e-4, rtol=0)
    loss = classification_loss(logits.logits, torch.eye(2, dtype=torch.bool))
    assert float(loss) == pytest.approx(0.221711, abs=1e-4)


def test_3_zero_logits_and_the_scale():
    assert float(classification_loss(torch.zeros(5, 5), torch.eye(5, dtype=torch.bool))) == pytest.approx(math.log(2))
    assert pytest.approx(math.exp(2.659260), abs=1e-4) == SCALE == pytest.approx(14.285714, abs=1e-4)


def test_4_without_evidence():
    logits = image_logits(torch.zeros(48, 100, 48))
    assert logits.shares[0, 0].item() == pytest.approx(1 / (48 + math.e))
    assert logits.logits.min().item() == pytest.approx(-3.312143, abs=1e-4) == logits.logits.max().item()
    loss = classification_loss(logits.logits, torch.eye(48, dtype=torch.bool))
    assert float(loss) == pytest.approx(0.104793, abs=1e-4)


def test_ignored_pairs_do_not_count():
    logits = torch.tensor([[0.0, 9.0], [0.0, 0.0]])
    ignored = torch.tensor([[False, True], [False, False]])
    loss = classification_loss(logits, torch.eye(2, dtype=torch.bool), ignored)
    assert float(loss) == pytest.approx(math.log(2))


@torch.no_grad()
def test_7_a_single_phrase_tells_every_pixel_the_same():
    torch.manual_seed(0)
    pixel_update, text_update = BilateralPrompt(16).eval()(torch.randn(3, 16, 5, 5), torch.randn(1, 16))
    assert pixel_update.abs().max() < 1e-5 and pixel_update.std((2, 3)).max() < 1e-5
    assert text_update.shape == (3, 1, 16) and text_update.abs().max() > 0


@torch.no_grad()
def test_the_order_of_images_and_of_phrases_does_not_matter():
    torch.manual_seed(0)
    bank, maps, texts = TextBank(8, 6, 16).eval(), torch.randn(3, 8, 4, 4), torch.randn(5, 6)
    scores = bank(maps, texts)
    torch.testing.assert_close(bank(maps.flip(0), texts), scores.flip(0))
    torch.testing.assert_close(bank(maps, texts.flip(0)), scores.flip(2))


@pytest.mark.parametrize("others", [0, 1, 5])
@pytest.mark.parametrize("prompt", ["none", "to_picture", "both"])
@torch.no_grad()
def test_alone_is_the_bank_of_one_phrase_and_the_others(prompt, others):
    torch.manual_seed(0)
    bank, maps, texts = TextBank(8, 6, 16, prompt=prompt).eval(), torch.randn(3, 8, 4, 4), torch.randn(3, 6)
    rest = torch.randn(others, 6)
    if prompt != "none":
        torch.nn.init.normal_(bank.prompt.pixel_output[1].bias)
    alone = bank.alone(maps, texts, rest)
    for row in range(3):
        one = bank(maps[row : row + 1], torch.cat([texts[row : row + 1], rest]))[0, :, 0].view(4, 4)
        torch.testing.assert_close(alone[row], one, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_with_others_in_sight_pixels_are_told_different_things():
    torch.manual_seed(0)
    bank, maps, texts = TextBank(8, 6, 16, prompt="to_picture").eval(), torch.randn(1, 8, 4, 4), torch.randn(1, 6)
    change = bank.alone(maps, texts, torch.randn(5, 6)) - bank.alone(maps, texts, texts[:0])
    assert change.std() > 1e-3


def test_a_learned_scale_starts_at_the_fixed_one_and_moves():
    torch.manual_seed(0)
    bank, fixed = TextBank(8, 6, 16, learns_scale=True), TextBank(8, 6, 16)
    fixed.load_state_dict(bank.state_dict(), strict=False)
    maps, texts = torch.randn(3, 8, 4, 4), torch.randn(3, 6)
    scores = bank(maps, texts)
    torch.testing.assert_close(scores, fixed(maps, texts))
    scores.amax().backward()
    assert bank.log_scale.grad > 0
    bank.log_scale.data.fill_(9)
    assert bank.scale.item() == LARGEST_SCALE


@pytest.mark.parametrize(("prompt", "changes_phrases"), [("to_picture", False), ("both", True)])
@torch.no_grad()
def test_a_prompt_to_the_image_leaves_phrases_as_they_are(prompt, changes_phrases):
    torch.manual_seed(0)
    plain, bank = TextBank(8, 6, 16, prompt="none").eval(), TextBank(8, 6, 16, prompt=prompt).eval()
    bank.load_state_dict(plain.state_dict(), strict=False)
    maps, texts = torch.randn(3, 8, 4, 4), torch.randn(5, 6)
    torch.nn.init.normal_(bank.prompt.pixel_output[1].bias)
    assert not torch.allclose(bank(maps, texts), plain(maps, texts))
    none = texts[:0]
    assert not torch.allclose(bank.alone(maps, texts[:3], none), plain.alone(maps, texts[:3], none))
    for parameter in bank.prompt.pixel_output[1].parameters():  # now pixels are told nothing
        torch.nn.init.zeros_(parameter)
    assert torch.allclose(bank(maps, texts), plain(maps, texts)) is not changes_phrases
    assert torch.allclose(bank.alone(maps, texts[:3], none), plain.alone(maps, texts[:3], none)) is not changes_phrases


def test_sizes_at_paper_scale():
    bank = TextBank(2048, 1024, 1024)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in bank.named_children()}
    assert sizes == {"pixel_project": 2_098_176, "text_project": 1_049_600, "prompt": 8_404_992}
