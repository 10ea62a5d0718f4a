"""The few numbers of a predictor that a reviewer reads first: what DVC knows as metrics."""

from typing import Any

from deixis.measuring.metrics import SPLITS

OTHERS = 3  # splits beside the first
DIGITS = 4  # a hundredth of a point: one phrase in ten thousand


def headlines(report: dict[str, Any]) -> dict[str, int | float]:
    """Six numbers at most: those of the first split as they are called there, and Acc@0.5 of the others.

    `dvc metrics show` has a column for each key, and 120 columns of text hold no more.

    Args:
        report: Metrics of every split, and `meta`, as `evaluate` writes them.
    """
    first, *others = sorted(set(report) - {"meta"}, key=split_order)
    shown = {"n": report[first]["n"]} | _rounded(report[first], {"acc50": "acc50", "miou": "miou"})
    for split in others[:OTHERS]:
        shown |= _rounded(report[split], {"acc50": f"acc50_{split}"})
    return shown


def split_order(split: str) -> tuple[int, str]:
    """Sorts val first, then the test splits, then splits with names of a user's own."""
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def _rounded(part: dict[str, Any], keys: dict[str, str]) -> dict[str, float]:
    return {name: round(part[key], DIGITS) for key, name in keys.items() if key in part}
