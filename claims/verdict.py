"""From the scores of two variants to a difference, its interval, and a verdict on the claim."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import t as student

from claims.entries import Claim
from deixis.core.errors import DataError
from deixis.measuring.metrics import THRESHOLD, mask_iou

Verdict = Literal["holds", "does not hold here", "no difference here", "not decidable here"]
UNDECIDED: Verdict = "not decidable here"
QUANTILE = 0.985  # both ends of an interval of 97 %: one of 95 % gave a verdict by chance in up to 5.4 % of draws
SPEED = "per_second"
# One value per expression; but for speed the means are the metrics of that name in reports/metrics
METRICS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "acc50": lambda scores: scores["iou"] > THRESHOLD,
    "miou": mask_iou,
    "miou_prompted": lambda scores: scores["mask_iou_prompted"],
    "miou_map": lambda scores: scores["mask_iou_map"],
    "point_in_mask": lambda scores: scores["point_in_mask"],
    SPEED: lambda scores: scores[SPEED],
}


class Difference(NamedTuple):
    """Variant minus baseline, with the ends of its 97 % interval, and the two sides."""

    estimate: float
    low: float
    high: float
    baseline: float
    variant: float


def values(scores: pd.DataFrame, metric: str) -> pd.Series:
    """One metric of every expression.

    Args:
        scores: As `claims.score` and `claims.time_teachers` write them.
        metric: One of `METRICS`.

    Returns:
        Indexed by image_id and sample_id.

    Raises:
        DataError: If the predictor does not answer in the way that the metric needs.
    """
    try:
        measured = METRICS[metric](scores)
    except KeyError as error:
        raise DataError(
            f"a variant's scores lack {error}, which {metric} needs; they have {', '.join(scores.columns)}. "
            "Name another metric in claims/claims.yaml, then run: dvc repro claims/dvc.yaml"
        ) from None
    return pd.Series(np.asarray(measured, float), index=pd.MultiIndex.from_frame(scores[["image_id", "sample_id"]]))


def compare(baseline: Mapping[int, pd.Series], variant: Mapping[int, pd.Series]) -> Difference:
    """Mean difference of paired values, over the images and seeds of training that were seen, and its interval.

    Args:
        baseline: Seed -> values as `values` returns them.
        variant: The same seeds and expressions.

    Raises:
        DataError: If the two sides differ in seeds or expressions.
    """
    differences, means = pair(baseline, variant)
    reach = float(half_interval(differences))
    estimate = float(differences.mean())
    return Difference(estimate, estimate - reach, estimate + reach, float(means["baseline"]), float(means["variant"]))


def pair(
    baseline: Mapping[int, pd.Series], variant: Mapping[int, pd.Series]
) -> tuple[Float[np.ndarray, "images seeds"], pd.Series]:
    """Differences by image and seed, whose mean is the mean over expressions; and the mean of each side.

    An image's value is its mean difference where all images have as many expressions. Where they have not, the mean
    over expressions is a ratio of two sums over images, and the values are its linearisation: what the number of an
    image's expressions alone would move is taken out, so that it does not count as spread of the difference.

    Raises:
        DataError: If the two sides differ in seeds or expressions.
    """
    if set(baseline) != set(variant) or not baseline:
        raise DataError(
            f"seeds {sorted(baseline)} and {sorted(variant)} do not pair. Run: dvc repro -f claims/dvc.yaml"
        )
    pairs = {
        number: baseline[number].to_frame("baseline").join(variant[number].rename("variant")) for number in baseline
    }
    whole = pd.concat(pairs, names=["seed"])
    sizes = {len(side[number]) for side in (baseline, variant) for number in side}
    if whole.isna().any(axis=None) or sizes != {len(whole) // len(baseline)}:
        raise DataError("the two sides answer different expressions. Run: dvc repro -f claims/dvc.yaml")
    by_image = (whole["variant"] - whole["baseline"]).groupby(["seed", "image_id"])
    sums, counts = (table.unstack("seed").to_numpy() for table in (by_image.sum(), by_image.size()))
    mean, per_image = sums.sum() / len(whole), len(whole) / sums.size
    return mean + (sums - mean * counts) / per_image, whole.mean()


def half_interval(differences: Float[np.ndarray, "*draws images seeds"]) -> Float[np.ndarray, "*draws"]:
    """Half the 97 % interval of the mean, where both the images and the seeds are a few of many.

    The variance of the mean is that of crossed random effects: mean squares of images plus that of seeds less that of
    what neither explains, over the number of values. Its degrees of freedom are Satterthwaite's, so where the seeds
    disagree, eight of them make for Student's t with seven. With one seed the images alone are drawn, and what another
    training would change is not in the interval.

    Of draws without a difference, whatever the variances, at most 3.4 % get a verdict with eight seeds, 3.8 % with
    five and 6.0 % with three, because a variance that three seeds do not show is left out. (A bootstrap of three seeds
    cannot leave the range of three numbers: it gave a verdict in 17 %.)

    Source: Searle, Casella and McCulloch, Variance Components, 1992, sections 4.5 and 5.4; of the ratio, Cochran,
    Sampling Techniques, 1977, section 6.4.
    """
    images, seeds = differences.shape[-2:]
    mean = differences.mean((-2, -1), keepdims=True)
    by_image, by_seed = differences.mean(-1, keepdims=True), differences.mean(-2, keepdims=True)
    if seeds == 1:
        return student.ppf(QUANTILE, images - 1) * by_image[..., 0].std(-1, ddof=1) / np.sqrt(images)
    rest = np.square(differences - by_image - by_seed + mean).sum((-2, -1))
    of_images = seeds * np.square(by_image - mean).sum((-2, -1))
    of_seeds = images * np.square(by_seed - mean).sum((-2, -1))
    freedom = np.array([images - 1, seeds - 1, (images - 1) * (seeds - 1)])
    squares = np.stack([of_images, of_seeds, rest], -1) / freedom
    kept = squares[..., :2] > squares[..., 2:]  # a variance below zero is none
    weights = np.concatenate([kept, 1 - kept.sum(-1, keepdims=True)], -1)
    variance = (weights * squares).sum(-1)
    with np.errstate(invalid="ignore"):  # where nothing differs, neither variance nor degrees are anything
        degrees = np.nan_to_num(variance**2 / (np.square(weights * squares) / freedom).sum(-1), nan=1.0)
    return student.ppf(QUANTILE, degrees) * np.sqrt(variance / (images * seeds))


def null_rate(differences: Float[np.ndarray, "images seeds"], draws: int) -> float:
    """Share of simulated draws that get a verdict by chance: this claim's images and seeds, but no difference.

    A draw takes as many images from those seen, with what each seed made of them, and puts on top what the seeds share
    over all images: normal, with the variance that was seen. Draws are the same on every run.
    """
    images, seeds = differences.shape
    generator = np.random.default_rng(0)
    by_image = differences - differences.mean(0)
    rest = by_image - by_image.mean(1, keepdims=True)
    noise = np.square(rest).sum() / max((images - 1) * (seeds - 1), 1) / images
    spread = np.sqrt(max(differences.mean(0).var(ddof=1) - noise, 0)) if seeds > 1 else 0.0
    verdicts = 0
    for _ in range(draws):
        drawn = by_image[generator.integers(images, size=images)] + spread * generator.standard_normal(seeds)
        verdicts += abs(drawn.mean()) > half_interval(drawn)
    return float(verdicts / draws)


def decide(claim: Claim, difference: Difference, tie: float = 0.0) -> Verdict:
    """What the interval says of the claim; whatever it leaves open is not decidable.

    `higher` holds if the whole interval lies above zero, does not hold here if it lies below, and if it lies astride
    but within `tie` either way, there is no difference here. `not_lower` holds if the interval lies above minus the
    margin, `same` if it lies between minus the margin and the margin; each does not hold here if the whole interval
    lies outside.

    Args:
        tie: Of claims that have no margin of their own; 0 where no difference is small enough.
    """
    low, high = difference.low, difference.high
    floor = -claim.margin
    ceiling = claim.margin if claim.direction == "same" else np.inf
    if low > floor and high < ceiling:
        return "holds"
    if high < floor or low > ceiling:
        return "does not hold here"
    if claim.direction == "higher" and -tie < low and high < tie:
        return "no difference here"
    return UNDECIDED
