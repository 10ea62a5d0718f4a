"""Known differences, ties, one seed, the wrong sign, and what does not pair."""

import numpy as np
import pandas as pd
import pytest

from claims.entries import Claim
from claims.verdict import METRICS, SPEED, Difference, compare, decide, half_interval, null_rate, pair, values
from deixis.core.errors import DataError
from deixis.measuring.metrics import summarise

IMAGES, PHRASES = 40, 3


def side(mean: float, *, spread: float = 0.2, seeds: int = 3, noise: int = 0) -> dict[int, pd.Series]:
    """Made-up values of 40 images with three phrases each."""
    index = pd.MultiIndex.from_tuples(
        [(image, f"{image}/{phrase}") for image in range(IMAGES) for phrase in range(PHRASES)],
        names=["image_id", "sample_id"],
    )
    generator = np.random.default_rng(noise)
    return {seed: pd.Series(mean + spread * generator.standard_normal(len(index)), index) for seed in range(seeds)}


def claim(direction: str = "higher", margin: float = 0.0) -> Claim:
    return Claim(
        id="a", paper="p", table="t", numbers="1 → 2", statement="s", metric="acc50", baseline="b", variant="v",
        direction=direction, margin=margin,
    )  # fmt: skip


def judged(low: float, high: float, direction: str = "higher", margin: float = 0.0, tie: float = 0.0) -> str:
    return decide(claim(direction, margin), Difference((low + high) / 2, low, high, 0.5, 0.5), tie)


def test_a_known_difference_is_found_and_lies_in_its_interval():
    difference = compare(side(0.5), side(0.7, noise=1))
    assert difference.estimate == pytest.approx(0.2, abs=0.04)
    assert difference.low < difference.estimate < difference.high
    assert difference.variant - difference.baseline == pytest.approx(difference.estimate)
    assert decide(claim(), difference) == "holds"


def test_swapping_the_sides_turns_the_sign_and_the_verdict():
    one, other = side(0.5), side(0.7, noise=1)
    forth, back = compare(one, other), compare(other, one)
    assert (back.estimate, back.low, back.high) == pytest.approx((-forth.estimate, -forth.high, -forth.low))
    assert decide(claim(), back) == "does not hold here"


def test_equal_sides_have_no_difference_at_all():
    difference = compare(side(0.5), side(0.5))
    assert difference[:3] == (0.0, 0.0, 0.0)
    assert decide(claim(), difference) == "not decidable here"
    assert decide(claim("same", 0.01), difference) == "holds"
    assert decide(claim("not_lower", 0.01), difference) == "holds"


def test_pairing_takes_out_what_images_share():
    base = side(0.5, spread=0.3)
    shifted = {seed: column + 0.01 for seed, column in base.items()}
    difference = compare(base, shifted)
    assert (difference.low, difference.high) == pytest.approx((0.01, 0.01))


def test_the_spread_of_seeds_is_that_of_their_mean():
    flat = {seed: column * 0 for seed, column in side(0.0).items()}
    moved = {seed: column + shift for (seed, column), shift in zip(flat.items(), (0.0, 0.1, 0.2), strict=True)}
    difference = compare(flat, moved)
    reach = 5.642778 * 0.1 / np.sqrt(3)  # Student's t with two degrees of freedom, 97 %
    assert (difference.low, difference.high) == pytest.approx((0.1 - reach, 0.1 + reach))
    assert decide(claim(), difference) == "not decidable here"


@pytest.mark.parametrize(("seeds", "most"), [(3, 0.08), (5, 0.05), (8, 0.05)])
@pytest.mark.parametrize("of_seeds", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("of_images", [0.1, 0.4])
def test_an_interval_seldom_misses_what_is_true(of_seeds, of_images, seeds, most):
    generator = np.random.default_rng(0)
    shape = (2000, 100, seeds)
    differences = (
        generator.normal(0, of_images, (*shape[:2], 1))
        + generator.normal(0, of_seeds, (shape[0], 1, seeds))
        + generator.normal(0, 0.3, shape)
    )
    missed = np.abs(differences.mean((1, 2))) > half_interval(differences)
    assert 0.01 <= missed.mean() <= most


def test_chance_seldom_gives_a_verdict_on_the_design_of_a_claim():
    base, other = side(0.5, seeds=5), side(0.6, seeds=5, noise=1)
    assert 0.01 <= null_rate(pair(base, other)[0], 1000) <= 0.05
    assert null_rate(pair(base, other)[0], 200) == null_rate(pair(base, other)[0], 200)
    assert null_rate(pair(side(0.5, seeds=1), side(0.6, seeds=1, noise=1))[0], 1000) <= 0.06


def test_one_seed_leaves_the_images():
    difference = compare(side(0.5, seeds=1), side(0.7, seeds=1, noise=1))
    assert difference.low < difference.estimate < difference.high


def test_the_interval_covers_images_not_phrases():
    """Phrases of an image that agree count once: three copies of every phrase do not narrow the interval."""
    one, other = side(0.5, seeds=1), side(0.55, seeds=1, noise=1)
    first = [{0: s[0].groupby("image_id").transform("first")} for s in (one, other)]
    whole = compare(*first)
    single = compare(*({0: s[0][s[0].index.get_level_values(1).str.endswith("/0")]} for s in first))
    assert whole.high - whole.low == pytest.approx(single.high - single.low, rel=0.1)


def test_how_many_phrases_an_image_has_is_no_spread():
    counts = np.random.default_rng(0).integers(1, 9, IMAGES)
    index = [(image, f"{image}/{phrase}") for image, count in enumerate(counts) for phrase in range(count)]
    index = pd.MultiIndex.from_tuples(index, names=["image_id", "sample_id"])
    plain = {seed: pd.Series(0.3, index) for seed in range(8)}
    better = {seed: pd.Series(0.5, index) for seed in range(8)}
    assert compare(plain, better)[:3] == pytest.approx((0.2, 0.2, 0.2))


def test_the_interval_of_unequal_images_is_that_of_drawing_them_anew():
    generator = np.random.default_rng(0)
    counts = generator.integers(1, 9, 400)
    image_ids = np.repeat(np.arange(400), counts)
    index = pd.MultiIndex.from_arrays([image_ids, np.arange(len(image_ids)).astype(str)])
    index.names = ["image_id", "sample_id"]
    gain = 0.2 + 0.3 * generator.standard_normal(400)[image_ids] + 0.3 * generator.standard_normal(len(image_ids))
    found = compare({0: pd.Series(0.0, index)}, {0: pd.Series(gain, index)})
    sums = np.bincount(image_ids, gain)
    drawn = generator.integers(400, size=(4000, 400))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    assert found.estimate == pytest.approx(gain.mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.015, 0.985]), abs=0.01)


def test_sides_must_pair():
    with pytest.raises(DataError, match=r"seeds \[0, 1, 2\] and \[0, 1\] do not pair"):
        compare(side(0.5), side(0.5, seeds=2))
    with pytest.raises(DataError, match="different expressions"):
        compare(side(0.5), {seed: column.iloc[1:] for seed, column in side(0.5).items()})
    with pytest.raises(DataError, match="different expressions"):
        compare({seed: column.iloc[1:] for seed, column in side(0.5).items()}, side(0.5))


@pytest.mark.parametrize(
    ("low", "high", "direction", "margin", "verdict"),
    [
        pytest.param(0.01, 0.03, "higher", 0.0, "holds", id="above"),
        pytest.param(-0.01, 0.03, "higher", 0.0, "not decidable here", id="astride"),
        pytest.param(0.0, 0.03, "higher", 0.0, "not decidable here", id="touches zero"),
        pytest.param(-0.03, -0.01, "higher", 0.0, "does not hold here", id="below"),
        pytest.param(-0.01, 0.05, "not_lower", 0.02, "holds", id="no harm"),
        pytest.param(-0.03, 0.05, "not_lower", 0.02, "not decidable here", id="perhaps harm"),
        pytest.param(-0.05, -0.03, "not_lower", 0.02, "does not hold here", id="harm"),
        pytest.param(-0.01, 0.01, "same", 0.02, "holds", id="same"),
        pytest.param(0.01, 0.03, "same", 0.02, "not decidable here", id="perhaps same"),
        pytest.param(0.03, 0.05, "same", 0.02, "does not hold here", id="better is not the same"),
        pytest.param(-0.05, -0.03, "same", 0.02, "does not hold here", id="worse is not the same"),
    ],
)
def test_verdicts(low, high, direction, margin, verdict):
    assert judged(low, high, direction, margin) == verdict


@pytest.mark.parametrize(
    ("low", "high", "direction", "verdict"),
    [
        pytest.param(-0.009, 0.004, "higher", "no difference here", id="astride and small"),
        pytest.param(-0.011, 0.004, "higher", "not decidable here", id="may be large"),
        pytest.param(0.001, 0.004, "higher", "holds", id="small, but above"),
        pytest.param(-0.03, 0.03, "same", "not decidable here", id="a margin of its own"),
    ],
)
def test_a_small_difference_counts_as_none(low, high, direction, verdict):
    assert judged(low, high, direction, 0.02 if direction == "same" else 0.0, tie=0.01) == verdict


def scores() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.random((12, 5)), columns=["iou", "intersection", "union", "mask_iou_map", "x"])
    return table.assign(
        image_id=np.arange(12) // 3,
        sample_id=[str(row) for row in range(12)],
        union=table["union"] + 1,
        mask_iou_prompted=table.pop("x"),
        point_in_mask=table["iou"] > 0.3,
        point_in_box=True,
        group="all",
        answered=True,
        floor_random=0.0,
        floor_confident=0.0,
        floor_whole=0.0,
        ceiling=0.0,
    )


@pytest.mark.parametrize("metric", sorted(METRICS.keys() - {SPEED}))
def test_means_of_values_are_the_metrics_of_the_reports(metric):
    assert values(scores(), metric).mean() == pytest.approx(summarise(scores(), resamples=2, seed=0)[metric], abs=1e-6)


def test_a_predictor_without_masks_has_no_metric_of_masks():
    with pytest.raises(DataError, match="lack 'mask_iou_map', which miou_map needs"):
        values(scores().drop(columns="mask_iou_map"), "miou_map")
