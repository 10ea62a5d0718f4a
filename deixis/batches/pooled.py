"""Maps stored as teachers of the coarse grid read them: less to keep, and the same to these teachers.

They read the detector's finest map after pooling it to the middle one's side, and experts' maps after pooling them to
the coarse one's.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from deixis.core.errors import ConfigError


def pool_detector(maps: Sequence[Tensor], coarse_side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coarse and middle map as they are, and the fine one with half its side.

    Raises:
        ConfigError: If the coarse map has another side than is stated.
    """
    coarse, middle, fine = maps
    if coarse.shape[-1] != coarse_side:
        raise ConfigError(
            f"extraction.coarse_side is {coarse_side}, and the detector's coarse map has {coarse.shape[-1]} cells a "
            "side. Write that in params.yaml, then run: dvc repro"
        )
    return coarse, middle, F.avg_pool2d(fine, 2)


def pool_expert(expert_map: Tensor, coarse_side: int) -> Tensor:
    """With at most so many cells a side."""
    return F.adaptive_avg_pool2d(expert_map, coarse_side) if expert_map.shape[-1] > coarse_side else expert_map


def is_pooled(coarse: Tensor, fine: Tensor) -> bool:
    """Whether a detector's fine map, of four times the coarse one's side, has been made smaller."""
    return fine.shape[-1] == 2 * coarse.shape[-1]


def refuse_pooled(coarse: Tensor, fine: Tensor, reader: str) -> None:
    """Stop whoever reads more than the coarse grid needs.

    Raises:
        ConfigError: If the maps are pooled.
    """
    if is_pooled(coarse, fine):
        raise ConfigError(
            f"{reader} reads more of the maps than this store keeps. Write extraction.coarse_side: null in "
            "params.yaml, then run: dvc repro"
        )
