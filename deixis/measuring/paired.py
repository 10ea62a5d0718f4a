"""Two predictors on the same phrases: the difference, its interval over images and trainings, and what many such need.

Phrases of one image are no independent draws, so images are what is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from scipy.stats import bootstrap, false_discovery_control
from scipy.stats import t as student

RESAMPLES = 9999
FEW = 30  # images; of fewer, the percentile bootstrap is too narrow, and Student's t is taken
LEVEL = 0.05
VISIBLE = 2.8  # standard errors: a difference that four of five repetitions would find at this level
VALUES_AT_ONCE = 2_000_000  # of the bootstrap, in memory

Verdict = Literal["better", "worse", "no difference seen", "the same"]


class Trainings(NamedTuple):
    """How much the number varies between trainings that differ by seed alone, and how many trainings say so."""

    deviation: float
    number: int

    @staticmethod
    def of(scores: Sequence[float]) -> "Trainings":
        """Of one number per training."""
        return Trainings(float(np.std(scores, ddof=1)), len(scores))


@dataclass(frozen=True)
class Difference:
    """Head minus base of one mean over phrases, as fractions.

    Attributes:
        low, high: Ends of the 95 % interval; not a number where there is a single image.
        error: Standard error, that of the trainings included where it is known.
        p: Of no difference at all, two-sided, not corrected.
        changed: Phrases whose values differ.
    """

    base: float
    head: float
    low: float
    high: float
    error: float
    p: float
    phrases: int
    images: int
    changed: int

    @property
    def estimate(self) -> float:
        """The difference."""
        return self.head - self.base

    @property
    def visible(self) -> float:
        """Smaller differences could not be seen."""
        return VISIBLE * self.error


def paired_difference(
    base: Float[np.ndarray, " phrases"],
    head: Float[np.ndarray, " phrases"],
    images: Shaped[np.ndarray, " phrases"],
    *,
    trainings: Trainings | None = None,
    resamples: int = RESAMPLES,
) -> Difference | None:
    """Difference of the means of paired values, in [0, 1], with an interval.

    Args:
        base: One value per phrase; where either side has a gap, the phrase counts for nothing.
        images: Which image each phrase is about.
        trainings: Of both sides, where they are trainings of their own and it is known; else the interval is over
            images alone, and says nothing of what another training would have done.

    Returns:
        Nothing where no phrase has both values.

    Source: Miller, Adding Error Bars to Evals, 2024 (clusters, pairs); Bouthillier et al., MLSys 2021 (seeds).
    """
    there = np.isfinite(base) & np.isfinite(head)
    if not there.any():
        return None
    codes, _ = pd.factorize(images[there])
    sums, sizes = np.bincount(codes, weights=(head - base)[there]), np.bincount(codes).astype(float)
    estimate = sums.sum() / sizes.sum()
    if len(sums) < 2:
        low, high, error, p = np.nan, np.nan, np.nan, 1.0
    elif trainings is not None and trainings.deviation > 0:
        low, high, error, p = _over_both(sums, sizes, trainings)
    elif not sums.any():
        low, high, error, p = 0.0, 0.0, 0.0, 1.0
    elif len(sums) < FEW:
        low, high, error, p = _by_student(estimate, _error_of_ratio(sums, sizes), len(sums) - 1.0, images=len(sums))
    else:
        low, high, error, p = _by_bootstrap(sums, sizes, resamples)
    return Difference(
        base=float(base[there].mean()),
        head=float(head[there].mean()),
        low=float(low),
        high=float(high),
        error=float(error),
        p=float(p),
        phrases=int(there.sum()),
        images=len(sums),
        changed=int((base[there] != head[there]).sum()),
    )


def _by_bootstrap(
    sums: Float[np.ndarray, " images"], sizes: Float[np.ndarray, " images"], resamples: int
) -> tuple[float, float, float, float]:
    """Low, high, standard error and p of the ratio of sums, by the percentile bootstrap over images."""
    drawn = bootstrap(
        (sums, sizes), _ratio, paired=True, vectorized=True, method="percentile", n_resamples=resamples,
        batch=max(1, VALUES_AT_ONCE // len(sums)), rng=np.random.default_rng(0),
    )  # fmt: skip
    beyond = min((drawn.bootstrap_distribution <= 0).sum(), (drawn.bootstrap_distribution >= 0).sum())
    p = min(1.0, 2 * (beyond + 1) / (resamples + 1))
    low, high = drawn.confidence_interval
    return float(low), float(high), float(drawn.standard_error), p


def _ratio(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
    return sums.sum(axis) / sizes.sum(axis)


def _error_of_ratio(sums: Float[np.ndarray, " images"], sizes: Float[np.ndarray, " images"]) -> float:
    """Standard error of a ratio of sums over images, from its residuals (Cochran, 1977, section 6.4)."""
    images = len(sums)
    rest = sums - sums.sum() / sizes.sum() * sizes
    return float(np.sqrt(images / (images - 1) * np.square(rest).sum()) / sizes.sum())


def _by_student(estimate: float, error: float, freedom: float, *, images: int) -> tuple[float, float, float, float]:
    if error == 0:  # all images moved alike: no spread to judge by, so the sign test's word
        return estimate, estimate, 0.0, min(1.0, 2.0 ** (1 - images))
    reach = float(student.ppf(1 - LEVEL / 2, freedom)) * error
    return estimate - reach, estimate + reach, error, 2 * float(student.sf(abs(estimate) / error, freedom))


def _over_both(
    sums: Float[np.ndarray, " images"], sizes: Float[np.ndarray, " images"], trainings: Trainings
) -> tuple[float, float, float, float]:
    """Over images and over trainings of both sides; degrees of freedom are Satterthwaite's."""
    images = len(sums)
    parts = np.array([_error_of_ratio(sums, sizes) ** 2, 2 * trainings.deviation**2])
    freedom = parts.sum() ** 2 / (np.square(parts) / (images - 1, trainings.number - 1)).sum()
    estimate = sums.sum() / sizes.sum()
    return _by_student(estimate, float(np.sqrt(parts.sum())), freedom, images=images)


def holm(ps: Sequence[float]) -> list[float]:
    """P-values corrected for all being looked at, whatever they have to do with each other (Holm, 1979)."""
    order = np.argsort(ps, kind="stable")
    steps = np.asarray(ps)[order] * np.arange(len(ps), 0, -1)
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected.tolist()


def false_discoveries(ps: Sequence[float]) -> list[float]:
    """P-values corrected so that of those that are called, one in twenty is false (Benjamini and Hochberg, 1995)."""
    return false_discovery_control(ps).tolist() if len(ps) else []


def judge(difference: Difference, corrected: float) -> Verdict:
    """The verdict in words, by the corrected p-value."""
    if not difference.changed:
        return "the same"
    if corrected >= LEVEL:
        return "no difference seen"
    return "better" if difference.estimate > 0 else "worse"
