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

Verdict = Literal["holds", "does not hold here", "not decidable here"]
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
    """Variant minus baseline, with the ends of its 95 % interval, and the two sides."""

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
    sums = (whole["variant"] - whole["baseline"]).groupby(["seed", "image_id"]).sum().unstack("seed").to_numpy()
    differences = sums * (sums.size / len(whole))  # so that their mean is the mean over expressions
    reach = half_interval(differences)
    estimate = float(differences.mean())
    means = whole.mean()
    return Difference(estimate, estimate - reach, estimate + reach, float(means["baseline"]), float(means["variant"]))


def half_interval(differences: Float[np.ndarray, "images seeds"]) -> float:
    """Half the 95 % interval of the mean, where both the images and the seeds are a few of many.

    The variance of the mean is that of crossed random effects: mean squares of images plus that of seeds less that of
    what neither explains, over the number of values. Its degrees of freedom are Satterthwaite's, so where the seeds
    disagree, three of them make for Student's t with two. (A bootstrap of three seeds cannot leave the range of three
    numbers: where nothing but chance differed between two variants it gave a verdict in 17 % of cases.) With one seed
    the images alone are drawn, and what another training would change is not in the interval.

    Source: Searle, Casella and McCulloch, Variance Components, 1992, sections 4.5 and 5.4.
    """
    images, seeds = differences.shape
    mean, by_image, by_seed = differences.mean(), differences.mean(1, keepdims=True), differences.mean(0, keepdims=True)
    if seeds == 1:
        return float(student.ppf(0.975, images - 1) * by_image.std(ddof=1) / np.sqrt(images))
    rest = differences - by_image - by_seed + mean
    sums = [seeds * np.square(by_image - mean).sum(), images * np.square(by_seed - mean).sum(), np.square(rest).sum()]
    freedom = np.array([images - 1, seeds - 1, (images - 1) * (seeds - 1)])
    squares = np.array(sums) / freedom
    of_images, of_seeds = (int(square > squares[2]) for square in squares[:2])  # a variance below zero is none
    weights = np.array([of_images, of_seeds, 1 - of_images - of_seeds])
    variance = weights @ squares
    if variance == 0:
        return 0.0
    degrees = variance**2 / (np.square(weights * squares) / freedom).sum()
    return float(student.ppf(0.975, degrees) * np.sqrt(variance / differences.size))


def decide(claim: Claim, difference: Difference) -> Verdict:
    """What the interval says of the claim; whatever it leaves open is not decidable.

    `higher` holds if the whole interval lies above zero. `not_lower` holds if it lies above minus the margin, `same` if
    it lies between minus the margin and the margin. Each does not hold here if the whole interval lies outside.
    """
    low, high = difference.low, difference.high
    floor = -claim.margin
    ceiling = claim.margin if claim.direction == "same" else np.inf
    if low > floor and high < ceiling:
        return "holds"
    if high < floor or low > ceiling:
        return "does not hold here"
    return "not decidable here"
