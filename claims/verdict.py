"""From the scores of two variants to a difference, its interval, and a verdict on the claim."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from claims.entries import Claim
from deixis.core.errors import DataError
from deixis.metrics import THRESHOLD

Verdict = Literal["holds", "does not hold here", "not decidable here"]
SPEED = "per_second"
# One value per expression; but for speed the means are the metrics of that name in reports/metrics
METRICS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "acc50": lambda scores: scores["iou"] > THRESHOLD,
    "miou": lambda scores: scores["intersection"] / scores["union"].clip(lower=1),
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
        found = METRICS[metric](scores)
    except KeyError as error:
        raise DataError(
            f"a variant's scores lack {error}, which {metric} needs; they have {', '.join(scores.columns)}. "
            "Name another metric in claims/claims.yaml, then run: dvc repro claims/dvc.yaml"
        ) from None
    return pd.Series(np.asarray(found, float), index=pd.MultiIndex.from_frame(scores[["image_id", "sample_id"]]))


def compare(
    baseline: Mapping[int, pd.Series], variant: Mapping[int, pd.Series], *, resamples: int, seed: int = 0
) -> Difference:
    """Mean difference of paired values, pooled over the seeds of training, and its interval.

    The interval is a percentile bootstrap at 95 %. A resample draws images, the same ones for both sides and all
    seeds, and seeds, the same for both sides. Of n seeds n - 1 are drawn: n draws would understate the spread of few
    seeds by the factor (n - 1) / n (Rao and Wu, JASA 1988). With one seed only images are drawn, and what another
    training would change is not in the interval.

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
    counts = whole["baseline"].groupby(["seed", "image_id"]).size().unstack("seed").to_numpy()

    generator = np.random.default_rng(seed)
    images, seeds = sums.shape
    drawn_images = generator.multinomial(images, np.full(images, 1 / images), size=resamples)
    drawn_seeds = generator.multinomial(max(1, seeds - 1), np.full(seeds, 1 / seeds), size=resamples)
    resampled = ((drawn_images @ sums) * drawn_seeds).sum(1) / ((drawn_images @ counts) * drawn_seeds).sum(1)
    low, high = np.percentile(resampled, (2.5, 97.5))
    means = whole.mean()
    return Difference(
        float(means["variant"] - means["baseline"]),
        float(low),
        float(high),
        float(means["baseline"]),
        float(means["variant"]),
    )


def decide(claim: Claim, found: Difference) -> Verdict:
    """What the interval says of the claim; whatever it leaves open is not decidable.

    `higher` holds if the whole interval lies above zero. `not_lower` holds if it lies above minus the margin, `same` if
    it lies between minus the margin and the margin. Each does not hold here if the whole interval lies outside.
    """
    low, high = found.low, found.high
    floor = -claim.margin
    ceiling = claim.margin if claim.direction == "same" else np.inf
    if low > floor and high < ceiling:
        return "holds"
    if high < floor or low > ceiling:
        return "does not hold here"
    return "not decidable here"
