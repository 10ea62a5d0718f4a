"""Fabricated answers: hits of trainings that differ by chance alone, alike within an image as real ones are."""

import numpy as np
import pandas as pd


def images_of_phrases(rng: np.random.Generator, images: int) -> np.ndarray:
    """Which image each phrase is about: two to eight phrases an image."""
    return np.repeat(np.arange(images), rng.integers(2, 9, images))


def hits(rng: np.random.Generator, about: np.ndarray, *, skill: float = 0.6) -> np.ndarray:
    """Hits of one training, as 0 and 1; what it thinks of an image's phrases is correlated at 0.3.

    Args:
        about: Image of each phrase.
        skill: Where a phrase of middling difficulty stands; another skill is another training seed.
    """
    difficulty = np.random.default_rng(len(about)).normal(size=len(about))  # the same for every training
    own = np.sqrt(0.3) * rng.normal(size=about.max() + 1)[about] + np.sqrt(0.7) * rng.normal(size=len(about))
    return (skill + own > difficulty).astype(float)


def answers(about: np.ndarray, hit: np.ndarray) -> pd.DataFrame:
    """A per-phrase table as `evaluate` writes it: of val for the first three quarters of the images, then testA."""
    phrases = len(about)
    left = 10.0 + np.arange(phrases) % 40
    true_box = [[x, 20.0, x + 30, 60.0] for x in left]
    box = [truth if right else [100.0, 100.0, 120.0, 120.0] for truth, right in zip(true_box, hit, strict=True)]
    union = np.full(phrases, 1200.0)
    return pd.DataFrame(
        {
            "sample_id": [f"{row:05d}" for row in range(phrases)],
            "image_id": about,
            "expression": [f"the {'red ' if row % 2 else ''}ball {row}" for row in range(phrases)],
            "split": np.where(about < 0.75 * about.max(), "val", "testA"),
            "group": np.where(np.arange(phrases) % 2, "attribute", "simple"),
            "true_box": true_box,
            "box": box,
            "iou": hit,
            "intersection": union * (0.2 + 0.6 * hit),
            "union": union,
        }
    )
