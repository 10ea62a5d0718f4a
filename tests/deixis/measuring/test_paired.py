"""Differences are called as often as they should be: against plain draws, without any difference, between seeds."""

from itertools import combinations

import numpy as np
import pytest

from deixis.measuring.paired import Trainings, false_discoveries, holm, judge, paired_difference
from tests.trainings import hits, images_of_phrases


def two_sides(seed: int, images: int, gain: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    about = images_of_phrases(rng, images)
    return hits(rng, about), hits(rng, about, skill=0.6 + gain), about


def test_the_interval_is_that_of_plain_draws_of_images():
    base, head, about = two_sides(0, 200, gain=0.2)
    found = paired_difference(base, head, about)
    images = about.max() + 1
    weights = np.random.default_rng(1).multinomial(images, np.full(images, 1 / images), size=20_000)
    sums, sizes = np.bincount(about, weights=head - base), np.bincount(about)
    drawn = (weights @ sums) / (weights @ sizes)
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert found.estimate == pytest.approx((head - base).mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.001)  # a tenth of a point
    assert found.error == pytest.approx(drawn.std(), rel=0.05)


@pytest.mark.parametrize(("images", "most"), [(20, 0.06), (50, 0.06), (120, 0.06)])
def test_equal_predictors_are_rarely_called_different(images, most):
    found = [paired_difference(*two_sides(seed, images), resamples=399) for seed in range(300)]
    called = [judge(difference, difference.p) in ("better", "worse") for difference in found]
    assert 0.015 <= np.mean(called) <= most


def test_phrases_taken_for_independent_draws_would_be_called_too_often():
    """What the clusters are for: the same draws, each phrase an image of its own."""
    sides = [two_sides(seed, 50) for seed in range(300)]
    called = [paired_difference(b, h, np.arange(len(b)), resamples=299).p < 0.05 for b, h, _ in sides]
    assert np.mean(called) > 0.06


def test_seeds_are_called_different_until_their_spread_is_counted_in():
    """Twenty trainings that differ by seed alone, and their 190 pairs."""
    rng = np.random.default_rng(3)
    about = images_of_phrases(rng, 60)
    trainings = [hits(rng, about, skill=0.6 + rng.normal(0, 0.12)) for _ in range(20)]
    spread = Trainings.of([hit.mean() for hit in trainings])
    called = {
        known: np.mean([
            paired_difference(one, other, about, trainings=known, resamples=299).p < 0.05
            for one, other in combinations(trainings, 2)
        ])
        for known in (None, spread)
    }  # fmt: skip
    assert called[None] > 0.10
    assert called[spread] <= 0.05


def test_the_spread_of_trainings_adds_to_that_of_images_on_both_sides():
    base, head, about = two_sides(5, 25)
    alone = paired_difference(base, head, about)
    both = paired_difference(base, head, about, trainings=Trainings(0.02, 20))
    assert both.error**2 == pytest.approx(alone.error**2 + 2 * 0.02**2)
    assert both.high - both.low > alone.high - alone.low
    few = paired_difference(base, head, about, trainings=Trainings(0.02, 2))
    assert few.high - few.low > both.high - both.low  # two trainings say little of the spread


def test_a_real_gain_is_called_better_and_its_mirror_worse():
    base, head, about = two_sides(7, 200, gain=0.5)
    better, worse = paired_difference(base, head, about), paired_difference(head, base, about)
    assert judge(better, better.p) == "better" and better.low > 0
    assert judge(worse, worse.p) == "worse" and worse.high < 0
    assert judge(better, 0.05) == "no difference seen"
    assert better.visible == pytest.approx(2.8 * better.error)


def test_gaps_count_for_nothing():
    base, head, about = two_sides(8, 40)
    gaps = base.copy()
    gaps[about % 2 == 0] = np.nan
    kept = about % 2 == 1
    assert paired_difference(gaps, head, about) == paired_difference(base[kept], head[kept], about[kept])
    assert paired_difference(np.full(3, np.nan), np.ones(3), np.arange(3)) is None


def test_no_change_is_the_same_and_one_image_says_nothing():
    base, _, about = two_sides(9, 40)
    same = paired_difference(base, base, about)
    assert (same.low, same.high, same.p, judge(same, same.p)) == (0, 0, 1, "the same")
    one = paired_difference(np.zeros(3), np.ones(3), np.zeros(3, int))
    assert np.isnan(one.low) and judge(one, one.p) == "no difference seen"
    alike = paired_difference(np.zeros(3), np.ones(3), np.arange(3))  # no spread to judge three images by
    assert alike.p == 0.25


def test_holm_corrects_for_all_that_is_looked_at():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # a textbook's example
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_false_discoveries_are_milder():
    ps = [0.01, 0.04, 0.03, 0.005]
    assert false_discoveries(ps) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert false_discoveries([]) == []
