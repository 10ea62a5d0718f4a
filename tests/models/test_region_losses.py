"""PCNet's losses on mask proposals (its sections 3.3 and 3.4), term by term at known values."""

import pytest
import torch

from models.map_blocks.region_losses import (
    Regions,
    ambiguity,
    best_proposal,
    collisions,
    half_dice,
    likeness,
    proposal_scores,
    proposals_of,
    relative,
    released_shrinking,
    shrinking_loss,
    soft_iou,
    split_regions,
)


def bools(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def test_20_a_map_that_is_its_mask():
    mask = bools([1, 1, 0, 0])
    assert soft_iou(mask.float(), mask).item() == pytest.approx(1.0)
    assert half_dice(mask.float(), mask).item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 0.5, 0.5, 0.0], 0.542857), ([1.0, 1.0, 0.5, 0.0], 0.325), ([0.0, 0.0, 1.0, 1.0], 2.0), ([1.0] * 4, 1.0)],
)
def test_21_ambiguity(values, expected):
    regions = Regions(bools([1, 1, 0, 0]), bools([0, 0, 1, 1]))
    assert ambiguity(torch.tensor([values]), regions).item() == pytest.approx(expected, abs=1e-4)


def test_21_its_two_parts():
    maps = torch.tensor([[1, 0.5, 0.5, 0]])
    assert soft_iou(maps, bools([1, 1, 0, 0])).item() == pytest.approx(0.6, abs=1e-4)
    assert soft_iou(maps, bools([0, 0, 1, 1])).item() == pytest.approx(0.142857, abs=1e-4)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [((0.542857, 0.325), 0.0), ((0.325, 0.542857), 0.217857), ((0.9, 0.7, 0.8), 0.05), ((0.5, 0.6, 0.9), 0.2)],
)
def test_22_shrinking(stages, expected):
    assert shrinking_loss([torch.tensor([s]) for s in stages]).item() == pytest.approx(expected, abs=1e-4)


def test_the_earlier_stage_cannot_pay_for_the_later_one():
    before, after = torch.tensor([0.2], requires_grad=True), torch.tensor([0.6], requires_grad=True)
    shrinking_loss([before, after]).backward()
    assert before.grad is None and after.grad.item() == 1.0
    assert shrinking_loss([before]).item() == 0.0  # a single stage cannot grow


@pytest.mark.parametrize(("stage", "shrink"), [(0, 0.9), (1, 1.05)])
def test_23_the_released_terms(stage, shrink):
    background = [torch.tensor([x]) for x in (0.4, 0.3, 0.35)]
    foreground = [torch.tensor([x]) for x in (0.2, 0.3, 0.4)]
    terms = released_shrinking(foreground, background, stage=stage)
    assert terms["shrinking"].item() == pytest.approx(shrink, abs=1e-4)
    assert terms["anchor"].item() == pytest.approx(0.7, abs=1e-4)


def collide(one: torch.Tensor, other: torch.Tensor, compat: str = "fixed") -> torch.Tensor:
    """Of scores without equals, whose winners are the highest."""
    return collisions(one, other, (one.argmax(-1), other.argmax(-1)), compat=compat)


@pytest.mark.parametrize(("compat", "same", "different"), [("paper", 1, -1), ("released", 1, 0), ("fixed", 1, 0)])
def test_24_values_of_collisions(compat, same, different):
    one = torch.tensor([[0.9, 0.2, 0.1]])
    assert collide(one, torch.tensor([[0.8, 0.3, 0.0]]), compat).item() == pytest.approx(same)
    assert collide(one, torch.tensor([[0.1, 0.7, 0.3]]), compat).item() == pytest.approx(different)


def gradients(one: list[float], other: list[float], compat: str) -> list[list[float]]:
    scores = [torch.tensor([values], requires_grad=True) for values in (one, other)]
    collide(*scores, compat).sum().backward()
    return [x.grad[0].tolist() for x in scores]


def test_25_at_a_collision_only_the_inner_product_acts():
    one, other = [0.9, 0.2, 0.1], [0.8, 0.3, 0.0]
    assert gradients(one, other, "paper") == [pytest.approx([0, 0, 0], abs=1e-6)] * 2
    assert gradients(one, other, "fixed") == [pytest.approx([1, 0, 0]), pytest.approx([1, 0, 0])]


def test_26_gradients_where_the_winners_differ():
    one, other = [0.9, 0.2, 0.1], [0.1, 0.7, 0.3]
    assert gradients(one, other, "paper") == [pytest.approx([-2, 2, 0], abs=1e-5), pytest.approx([2, -2, 0], abs=1e-5)]
    assert gradients(one, other, "fixed") == [pytest.approx([0, 1, 0], abs=1e-5), pytest.approx([1, 0, 0], abs=1e-5)]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], 1.0),
        ([1.0, 0.0, 0.0], [0.0, 0.4, 0.6], 0.0),
        ([1, 0, 0], [0.5, 0.5, 0], 0.688722),
    ],
)
def test_likeness_is_one_minus_the_divergence_in_bits(one, other, expected):
    shares = [torch.tensor([values], dtype=torch.float) for values in (one, other)]
    assert likeness(*shares).item() == pytest.approx(expected, abs=1e-4)
    assert likeness(*shares[::-1]).item() == pytest.approx(expected, abs=1e-4)


def test_likeness_heeds_all_scores_and_its_gradient_is_finite_at_padding():
    scores = [torch.tensor([values], requires_grad=True) for values in ([3.0, 2.0, 0.0, -100], [0.0, 2.0, 3.0, -100])]
    one, other = (s.softmax(-1) for s in scores)
    assert collide(one, other).item() == 0.0  # the winners differ already
    likeness(one, other).backward()
    assert scores[0].grad[0, 0] < 0 < scores[0].grad[0, 2]  # falls as the phrases part further
    assert scores[0].grad.isfinite().all() and scores[0].grad[0, 3] == 0


PROPOSALS = proposals_of(bools([0, 1, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0])[None])


def test_27_nested_proposals_tie_and_the_smallest_wins():
    scores = proposal_scores(relative(torch.tensor([[0.0, 0.4, 1.0, 0.2]])), PROPOSALS)
    assert scores[0].tolist() == pytest.approx([1, 1, 0.4, 0], abs=1e-4)
    assert best_proposal(scores, PROPOSALS.area).tolist() == [1]  # the release takes the first, which is the largest


def test_a_proposal_that_holds_both_objects_is_no_collision():
    both, left, right = [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]
    proposals = proposals_of(bools(both, left, right)[None].expand(2, -1, -1))
    maps = torch.tensor([[9.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 9.0]])  # each phrase sees its own object
    raw = proposal_scores(maps, proposals)
    winners = best_proposal(raw, proposals.area)
    assert winners.tolist() == [1, 2]
    one, other = raw.softmax(-1)
    assert collisions(one[None], other[None], (winners[:1], winners[1:])).item() == 0.0


def test_27_a_map_over_its_own_maximum_has_a_dead_peak_and_ours_has_not():
    values = torch.tensor([[0.0, 0.4, 1.0, 0.2]], requires_grad=True)
    released = values.clamp(min=0) / (values.amax(1, keepdim=True) + 1e-5)
    proposal_scores(released, PROPOSALS)[0, 0].backward()
    assert values.grad.abs().max() < 1e-3
    values.grad = None
    proposal_scores(released := values.clamp(min=0) / (values.amax(1, keepdim=True) + 1e-5), PROPOSALS)[0, 2].backward()
    assert values.grad[0].tolist() == pytest.approx([0, 1, -0.4, 0], abs=1e-3)
    values.grad = None
    proposal_scores(relative(values), PROPOSALS)[0, 0].backward()
    assert values.grad[0].tolist() == pytest.approx([0, 0, 1, 0], abs=1e-3)


def test_padding_never_wins_and_the_background_is_the_union_of_the_others():
    scores = proposal_scores(torch.full((1, 4), -1.0), PROPOSALS, padding=-9.0)
    assert scores[0].tolist() == [-1, -1, -1, -9]
    regions = split_regions(torch.tensor([1]), PROPOSALS.inside)
    assert regions.foreground.tolist() == [[False, False, True, False]]
    assert regions.background.tolist() == [[True, True, False, True]]


def test_mean_scores():
    scores = proposal_scores(torch.tensor([[0.0, 0.4, 1.0, 0.2]]), PROPOSALS, reduce="mean")
    assert scores[0].tolist() == pytest.approx([1.6 / 3, 1.0, 0.2, 0.0])


def test_an_image_without_proposals_is_neither_ambiguous_nor_an_error():
    nothing = proposals_of(torch.zeros(1, 3, 4, dtype=torch.bool))
    maps = torch.tensor([[0.0, 0.4, 1.0, 0.2]])
    best = best_proposal(proposal_scores(maps, nothing), nothing.area)
    assert ambiguity(maps, split_regions(best, nothing.inside)).item() == pytest.approx(1.0)
