"""How far to trust each pseudo-label, learnt without truth.

Three things are known of a label: its margin, its agreement with other teachers, and its stability when the image
is shown at another size. The last two are also events (IoU > 0.5), and each serves to calibrate the others:

    evidence  u = (rank(margin) + rank(stability)) / 2           v = (rank(margin) + rank(agreement)) / 2
    level     p(u) = P(another teacher agrees | u)               q(v) = P(the label is stable | v)
    sureness  P(right | u) = min(1, p(u) / k)                    P(right | v) = min(1, q(v) / l)
    confidence = (P(right | u) + P(right | v)) / 2

Ranks are shares of the labels. Levels are isotonic regressions, fitted on the labels of other images (five folds), so
that no event judges itself. A right label is not always agreed with: k and l are how often the event happens among the
most confident twentieth by evidence, which are taken to be right. This is Elkan and Noto's correction for positives of
which only some are marked (KDD 2008), and its two assumptions are the price of having no truth: that the most confident
labels are right, and that the event is rare among wrong ones. Where teachers share mistakes, confidence is too high.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata

from deixis.core.errors import DataError

AGREES = 0.5  # IoU above which two boxes mean one object, as in evaluation
FOLDS = 5
MOST_CONFIDENT = 0.05  # share of the labels that are taken to be right


def rate(
    margin: Float[np.ndarray, " labels"],
    *,
    stability: Float[np.ndarray, " labels"],
    agreement: Float[np.ndarray, "labels others"],
    image_ids: Int[np.ndarray, " labels"],
) -> Float[np.ndarray, " labels"]:
    """Confidence of each label, in [0, 1].

    Args:
        margin: Score over the runner-up's; any scale, higher is surer.
        stability: IoU with the box of the same phrase in the image at another size.
        agreement: IoU with the boxes of the other teachers.

    Raises:
        DataError: If all labels are of one image.
    """
    images, place = np.unique(image_ids, return_inverse=True)
    if len(images) < 2:
        raise DataError(
            f"{len(images)} image with labels: confidence is learnt on other images than the label's own. "
            "Allowed: two or more. Add images to the dataset, then run: dvc repro"
        )
    folds = place % FOLDS
    ranks = [rankdata(values) / len(values) for values in (margin, stability, agreement.mean(1))]
    by_agreement = sureness((ranks[0] + ranks[1]) / 2, (agreement > AGREES).mean(1), folds)
    by_stability = sureness((ranks[0] + ranks[2]) / 2, (stability > AGREES).astype(float), folds)
    return (by_agreement + by_stability) / 2


def sureness(
    evidence: Float[np.ndarray, " labels"], events: Float[np.ndarray, " labels"], folds: Int[np.ndarray, " labels"]
) -> Float[np.ndarray, " labels"]:
    """Probability that each label is right; within a fold it never falls as evidence grows.

    Args:
        events: Share of the witnesses that agree; 0 everywhere if none ever does, and so is the result.
        folds: Each one's labels are judged by what the others show.
    """
    confidence = np.zeros_like(evidence)
    for fold in np.unique(folds):
        judged, others = folds == fold, folds != fold
        known, of = np.unique(evidence[others], return_inverse=True)
        counts = np.bincount(of)
        level = isotonic_regression(np.bincount(of, events[others]) / counts, weights=counts).x
        most_confident = evidence[others] >= np.quantile(evidence[others], 1 - MOST_CONFIDENT)
        if (among_right := events[others][most_confident].mean()) > 0:
            confidence[judged] = np.clip(np.interp(evidence[judged], known, level) / among_right, 0, 1)
    return confidence
