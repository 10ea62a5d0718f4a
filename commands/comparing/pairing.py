"""The same phrases of two commits, row by row."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from commands.comparing.revisions import Revision
from deixis.measuring.headlines import split_order
from deixis.measuring.metrics import THRESHOLD, mask_iou

COLUMNS = ("sample_id", "image_id", "expression", "split", "box", "true_box", "iou", "group")
MASKS = ("intersection", "union")
SAME = ["sample_id", "image_id", "expression", "split", "true_corners"]  # what makes two rows one phrase


@dataclass(frozen=True)
class Paired:
    """One predictor's answers on both sides.

    Attributes:
        rows: What is the same of both under its name, and what each side says with `_base` and `_head`.
        unpaired: Phrases of base and of head that the other side lacks, or asks about another image or object.
    """

    dataset: str
    predictor: str
    rows: pd.DataFrame
    unpaired: tuple[int, int]

    @property
    def splits(self) -> list[str]:
        """Splits with pairs, the one that counts first."""
        return sorted(self.rows["split"].unique(), key=split_order)

    def of(self, split: str) -> pd.DataFrame:
        """Rows of one split."""
        return self.rows[self.rows["split"] == split]


def pair(dataset: str, predictor: str, base: Revision, head: Revision) -> Paired:
    """Read both tables and join them on sample, image, words and true box."""
    path = {side: side.predictors[dataset, predictor] for side in (base, head)}
    tables = [_with_corners(side.table(path[side], COLUMNS, MASKS)) for side in (base, head)]
    rows = tables[0].merge(tables[1], on=SAME, suffixes=("_base", "_head"))
    return Paired(dataset, predictor, rows, (len(tables[0]) - len(rows), len(tables[1]) - len(rows)))


def _with_corners(table: pd.DataFrame) -> pd.DataFrame:
    """Lists cannot be joined on; tuples can."""
    return table.assign(true_corners=[tuple(np.asarray(box, float)) for box in table.pop("true_box")])


def values(rows: pd.DataFrame, metric: str, side: str) -> np.ndarray | None:
    """One number in [0, 1] per phrase, with gaps where there is no truth of that kind.

    Args:
        metric: acc50 or miou.
        side: base or head.

    Returns:
        Nothing where that side did not measure it.
    """
    if metric == "acc50":
        return (rows[f"iou_{side}"] > THRESHOLD).to_numpy(float)
    named = {name: f"{name}_{side}" for name in MASKS}
    if not {*named.values()} <= {*rows}:
        return None
    return mask_iou(rows[[*named.values()]].set_axis([*named], axis=1)).to_numpy(float)
