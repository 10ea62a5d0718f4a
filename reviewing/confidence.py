"""How sure each label is, learnt from people's decisions about some of them.

A logistic regression on the two signs of `reviewing/order.py`, by rank. Decisions about the most doubtful labels alone
say nothing of the others: on the drawn scenes its calibration error was then 0.08 to 0.6, and 0.02 after as many
decisions in a random order. So it asks for some about labels that are not doubtful.
"""

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

from reviewing.order import crowding

LEAST = 15  # decisions in each half of the labels, the more and the less doubtful, below which nothing is learnt
PENALTY = 1.0  # on the squares of the two weights: a few decisions do not make labels certain


def learnt_confidence(
    image_ids: Shaped[np.ndarray, " labels"],
    boxes_xyxy: Float[np.ndarray, "labels 4"],
    margin: Float[np.ndarray, " labels"],
    *,
    decided: Bool[np.ndarray, " labels"],
    right: Bool[np.ndarray, " labels"],
) -> Float[np.ndarray, " labels"] | None:
    """Probability that each label is right, in [0, 1]; None where too little was decided, or all of it alike.

    Args:
        boxes_xyxy: As the teacher gave them.
        right: Whether people accepted the teacher's box; read only where they decided.
    """
    signs = [rankdata(values) / len(values) - 0.5 for values in (margin, crowding(image_ids, boxes_xyxy))]
    is_doubtful = signs[1] - signs[0] > np.median(signs[1] - signs[0])
    fewest = min((decided & is_doubtful).sum(), (decided & ~is_doubtful).sum())
    if fewest < LEAST or len(np.unique(right[decided])) < 2:
        return None
    inputs, answers = np.stack([*signs, np.ones(len(margin))], 1), right[decided].astype(float)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = inputs[decided] @ weights
        pull = PENALTY * np.array([weights[0], weights[1], 0.0])
        value = np.logaddexp(0, logits).sum() - answers @ logits + pull @ weights / 2
        return float(value), inputs[decided].T @ (expit(logits) - answers) + pull

    return expit(inputs @ minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B").x)
