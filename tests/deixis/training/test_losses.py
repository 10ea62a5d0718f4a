"""Loss terms against values worked out by hand, and what must not change them."""

import math

import pytest
import torch

from deixis.training.losses import (
    anchor_contrastive_logits,
    anchor_contrastive_loss,
    clip_loss,
    diversity_loss,
    text_guided_loss,
    vision_guided_loss,
)


def one_good_anchor(batch, scale, *, copies=1):
    """Phrase b is the b-th axis; image b holds `copies` anchors along it and two zero anchors."""
    text = torch.eye(batch)
    good = (scale * text)[:, None].expand(batch, copies, batch)
    return text, torch.cat([torch.zeros(batch, 1, batch), good, torch.zeros(batch, 1, batch)], 1)


def random_codes(seed=0, *, batch=5, cells=4, width=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, width, generator=generator), torch.randn(batch, cells, width, generator=generator)


@pytest.mark.parametrize(("batch", "expected"), [(2, 1.098612), (4, 1.945910), (40, 4.369448), (64, 4.844187)])
def test_contrast_of_equal_similarities_is_log_of_the_number_of_logits(batch, expected):
    loss = anchor_contrastive_loss(torch.zeros(batch, 8), torch.zeros(batch, 17, 8))
    assert loss.item() == pytest.approx(expected, abs=2e-6)
    assert expected == pytest.approx(math.log(2 * batch - 1), abs=1e-6)


@pytest.mark.parametrize(
    ("batch", "scale", "expected"),
    [(2, 1, 0.551445), (4, 1, 1.165422), (4, 2, 0.594438), (64, 1, 3.857626), (64, 5, 0.614635), (64, 10, 0.005704)],
)
def test_contrast_with_one_good_anchor_per_image(batch, scale, expected):
    assert anchor_contrastive_loss(*one_good_anchor(batch, scale)).item() == pytest.approx(expected, abs=2e-6)


def test_runner_up_of_the_own_image_is_no_negative():
    assert anchor_contrastive_loss(*one_good_anchor(2, 1, copies=2)).item() == pytest.approx(0.551445, abs=2e-6)


def test_contrast_of_two_images_worked_by_hand():
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    anchors = torch.tensor([[[3.0, 0.0], [1.0, 0.0], [0.0, -1.0]], [[0.0, 2.0], [2.0, 1.0], [0.0, 0.0]]])
    logits = anchor_contrastive_logits(text, anchors)
    assert logits.tolist() == [[3, 2, 0], [0, 2, 0]]
    rows = torch.nn.functional.cross_entropy(logits, torch.arange(2), reduction="none")
    assert rows.tolist() == pytest.approx([0.349012, 0.239545], abs=2e-6)
    assert anchor_contrastive_loss(text, anchors).item() == pytest.approx(0.294279, abs=2e-6)


@pytest.mark.parametrize(("negatives", "columns"), [(1, 64), (2, 127), (3, 190)])
def test_number_of_logits_grows_by_the_other_images_per_rank(negatives, columns):
    text, anchors = random_codes(batch=64)
    assert anchor_contrastive_logits(text, anchors, negatives=negatives).shape == (64, columns)


@pytest.mark.parametrize("negatives", [1, 2, 3])
def test_contrast_ignores_the_order_of_the_batch_and_of_the_anchors(negatives):
    text, anchors = random_codes()
    rows, columns = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 3, 1])
    expected = anchor_contrastive_loss(text, anchors, negatives=negatives)
    shuffled = anchor_contrastive_loss(text[rows], anchors[rows], negatives=negatives)
    torch.testing.assert_close(shuffled, expected)
    torch.testing.assert_close(anchor_contrastive_loss(text, anchors[:, columns], negatives=negatives), expected)


@pytest.mark.parametrize("negatives", [1, 2, 3])
def test_rows_about_one_image_are_no_negatives_of_each_other(negatives):
    text, anchors = random_codes()
    image_of = torch.tensor([0, 1, 0, 2, 1])
    anchors = anchors[image_of]
    rows = []
    for row, image in enumerate(image_of):
        others = image_of != image
        ranked = torch.einsum("d,avd->av", text[row], anchors).sort(-1, descending=True).values[:, :negatives]
        logits = torch.cat([ranked[row, :1], ranked[others].flatten()])
        rows.append(logits.logsumexp(0) - logits[0])
    loss = anchor_contrastive_loss(text, anchors, negatives=negatives, image_of=image_of)
    torch.testing.assert_close(loss, torch.stack(rows).mean())
    alone = anchor_contrastive_loss(text, anchors, negatives=negatives, image_of=torch.arange(5))
    torch.testing.assert_close(alone, anchor_contrastive_loss(text, anchors, negatives=negatives))


def test_vision_guided_compares_different_images():
    expert, anchors = random_codes(batch=3)
    detector, twice = anchors[:, 0], torch.tensor([0, 1, 2, 0, 1, 2])
    similarity = torch.nn.functional.normalize(expert, dim=1) @ torch.nn.functional.normalize(detector, dim=1).T / 0.5
    own, others = similarity.diagonal().exp(), similarity.exp().sum(1) - similarity.diagonal().exp()
    found = vision_guided_loss(expert[twice], detector[twice], image_of=twice)
    torch.testing.assert_close(found, -(own / (own + 2 * others)).log().mean())
    alone = vision_guided_loss(expert, detector, image_of=torch.arange(3))
    torch.testing.assert_close(alone, vision_guided_loss(expert, detector))


def test_contrast_notices_when_phrases_change_images():
    text, anchors = one_good_anchor(4, 5.0)
    assert anchor_contrastive_loss(text.roll(1, 0), anchors) > math.log(7) > anchor_contrastive_loss(text, anchors)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        pytest.param([0.25] * 4, -1.386294, id="uniform"),
        pytest.param([1.0, 0.0, 0.0, 0.0], 0.0, id="one-hot"),
        pytest.param([0.5, 0.5, 0.0, 0.0], -0.693147, id="two-equal"),
        pytest.param([0.7, 0.1, 0.1, 0.1], -0.940448, id="one-large"),
        pytest.param([0.839024, 0.113550, 0.041773, 0.005653], -0.556199, id="softmax"),
    ],
)
def test_diversity(probabilities, expected):
    row = torch.tensor(probabilities)
    assert diversity_loss(row[None]).item() == pytest.approx(expected, abs=4e-6)
    assert diversity_loss(row[[2, 0, 3, 1]].expand(3, 4)).item() == pytest.approx(expected, abs=4e-6)


def test_diversity_is_a_mean_over_the_batch():
    rows = torch.tensor([[0.25] * 4, [1.0, 0.0, 0.0, 0.0]])
    assert diversity_loss(rows).item() == pytest.approx(-math.log(4) / 2)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        pytest.param((2.0, 0.0, -1.0, -3.0), (0.319403, -0.183873, -0.109416, -0.026114), id="sure"),
        pytest.param((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0), id="uniform"),
    ],
)
def test_gradient_of_diversity_in_the_logits(logits, expected):
    z = torch.tensor([logits], requires_grad=True)
    diversity_loss(z.softmax(-1)).backward()
    assert z.grad[0].tolist() == pytest.approx(expected, abs=2e-6)
    assert z.grad.sum().item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("batch", "expected"), [(2, 0.126928), (4, 0.340753), (64, 2.254038)])
def test_vision_guided_of_paired_orthonormal_codes(batch, expected):
    codes = torch.eye(batch)
    assert vision_guided_loss(codes, codes, temperature=0.5).item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("expert", "detector", "expected"),
    [
        pytest.param(torch.ones(64, 3), torch.ones(64, 3), 4.158883, id="identical"),
        pytest.param(torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [-1.0]]), 0.018150, id="opposite"),
        pytest.param(torch.eye(2), torch.eye(2).flip(0), 2.126928, id="swapped"),
    ],
)
def test_vision_guided_at_its_corners(expert, detector, expected):
    assert vision_guided_loss(expert, detector, temperature=0.5).item() == pytest.approx(expected, abs=2e-6)


def test_vision_guided_ignores_the_length_of_codes_and_the_order_of_the_batch():
    expert, anchors = random_codes()
    detector, order = anchors[:, 0], torch.tensor([3, 0, 4, 1, 2])
    lengths = torch.tensor([[0.1], [1.0], [7.0], [30.0], [2.0]])
    expected = vision_guided_loss(expert, detector)
    torch.testing.assert_close(vision_guided_loss(lengths * expert, lengths.flip(0) * detector), expected)
    torch.testing.assert_close(vision_guided_loss(expert[order], detector[order]), expected)


@pytest.mark.parametrize("offset", [0.0, 0.5, -2.0])
def test_text_guided_is_the_square_of_a_constant_offset(offset):
    text, _ = random_codes()
    decoded = (text + offset)[:, None].expand(-1, 17, -1)
    assert text_guided_loss(decoded, text).item() == pytest.approx(offset**2, abs=1e-5)


def test_text_guided_ignores_the_order_of_anchors():
    text, decoded = random_codes(cells=17)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(text_guided_loss(decoded[:, order], text), text_guided_loss(decoded, text))


def test_auxiliary_losses_move_both_sides():
    text, anchors = (x.requires_grad_() for x in random_codes())
    (text_guided_loss(anchors, text) + vision_guided_loss(anchors[:, 0], text)).backward()
    assert text.grad.abs().sum() > 0
    assert anchors.grad.abs().sum() > 0


def test_clip_loss_of_identical_codes_is_log_of_the_batch_and_symmetric():
    same = torch.ones(8, 3)
    assert clip_loss(same, same, torch.tensor(1.0)).item() == pytest.approx(math.log(8))
    image, anchors = random_codes()
    one_way = clip_loss(image, anchors[:, 0], torch.tensor(2.0))
    torch.testing.assert_close(clip_loss(anchors[:, 0], image, torch.tensor(2.0)), one_way)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_runners_up_are_those_of_every_other_image_in_order(batch):
    text, anchors = torch.randn(batch, 3), torch.randn(batch, 4, 3)
    second = torch.einsum("td,avd->tav", text, anchors).sort(-1, descending=True).values[..., 1]
    others = ~torch.eye(batch, dtype=torch.bool)
    found = anchor_contrastive_logits(text, anchors)[:, batch:]
    torch.testing.assert_close(found, second[others].view(batch, batch - 1))
