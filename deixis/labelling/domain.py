"""Which images a detector knows: how far the statistics of its maps lie from those of its training images.

Per image, the mean and the spread of every channel of the three maps, whitened by principal components of training
images; the distance is the root mean square. An image is foreign beyond what 99 of 100 other training images keep to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from deixis.core.checkpoints import load_state, save_state

FILE = "domain.safetensors"  # beside a detector's weights
COMPONENTS = 40
WITHIN = 0.99  # of the training images that are not fitted
LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Domain:
    """A detector's training images, as seen by itself.

    Attributes:
        name: What they show: "drawn scenes".
        mean: Of the statistics.
        whiten: Statistics less the mean to components of variance one.
        limit: Distance up to which an image belongs.
    """

    name: str
    mean: Float[Tensor, " statistics"]
    whiten: Float[Tensor, "statistics components"]
    limit: float

    def belongs(self, statistics: Float[Tensor, "images statistics"]) -> Bool[Tensor, " images"]:
        """Whether each image is of the kind that the detector was trained on."""
        return self.distance(statistics) <= self.limit

    def distance(self, statistics: Float[Tensor, "images statistics"]) -> Float[Tensor, " images"]:
        """About one for a training image."""
        return ((statistics - self.mean) @ self.whiten).square().mean(1).sqrt()


def map_statistics(maps: Sequence[Tensor]) -> Float[Tensor, "images statistics"]:
    """Mean and spread of every channel of every map, each [images, channels, h, w]."""
    return torch.cat([torch.cat([x.mean((2, 3)), x.std((2, 3))], 1) for x in maps], 1).float().cpu()


def fit_domain(
    name: str, fitted: Float[Tensor, "images statistics"], others: Float[Tensor, "others statistics"]
) -> Domain:
    """What training images have in common.

    Args:
        others: Training images beside those that are fitted; they set the limit.
    """
    mean, spread = fitted.mean(0), fitted.std(0).clamp(min=LEAST_SPREAD)
    _, sizes, directions = torch.linalg.svd((fitted - mean) / spread, full_matrices=False)
    count = min(COMPONENTS, len(sizes) - 1)
    scale = (sizes[:count] / len(fitted) ** 0.5).clamp(min=LEAST_SPREAD)
    whiten = directions[:count].T / spread[:, None] / scale
    unlimited = Domain(name, mean, whiten.contiguous(), limit=float("inf"))
    return replace(unlimited, limit=float(unlimited.distance(others).quantile(WITHIN)))


def write_domain(domain: Domain, folder: Path) -> None:
    """Beside the detector's weights."""
    facts = {"name": domain.name, "limit": domain.limit}
    save_state({"mean": domain.mean, "whiten": domain.whiten}, facts, folder / FILE)


def read_domain(folder: Path) -> Domain | None:
    """None where the detector says nothing about its domain."""
    path = folder / FILE
    if not path.exists():
        return None
    tensors, facts = load_state(path)
    return Domain(facts["name"], tensors["mean"], tensors["whiten"], float(facts["limit"]))
