"""What every measurement shares: a folder per seed with parameters and pairs, and scoring as its last step.

Only `score` is told where truth lies. It runs when training and labelling are done.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from deixis.core.records import read_table, write_table
from deixis.samples import PAIR_COLUMNS
from stages.evaluate import evaluate

SPLIT = "val"  # what claims are decided on
# Columns of a score file; the last five where masks were predicted
KEPT = (
    "sample_id", "image_id", "iou", "intersection", "union", "point_in_mask", "mask_iou_prompted", "mask_iou_map",
)  # fmt: skip


def write_params(params: dict[str, Any], path: Path) -> Path:
    """Write a parameter file for the stages; returns its path."""
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe", pure=True).dump(params, stream)
    return path


def write_pairs(prepared: Path, folder: Path, *, splits: tuple[str, ...]) -> Path:
    """Write the pairs of some splits, in a folder with the dataset's name, by which stages know it."""
    table = read_table(prepared / "pairs.parquet", columns=PAIR_COLUMNS, optional=("ref_id",), made_by="prepare")
    path = folder / "-".join(splits) / prepared.name / "pairs.parquet"
    write_table(table[table["split"].isin(splits)].reset_index(drop=True), path)
    return path


def score(
    predictions: Path,
    card: Path,
    *,
    prepared: Path,
    candidates: Path,
    leakage: Path,
    params: Path,
    folder: Path,
    out: Path,
) -> None:
    """Compare predictions with the withheld truth, and write one row per expression of `SPLIT`.

    Args:
        card: The predictor's `config.json`.
        folder: For what is written on the way.
    """
    evaluate(
        predictions=predictions,
        candidates=candidates,
        card=card,
        pairs=write_pairs(prepared, folder, splits=(SPLIT,)),
        truth=prepared / "truth.parquet",
        images=prepared / "images.parquet",
        leakage=leakage,
        out=folder / "metrics.json",
        samples_out=folder / "samples.parquet",
        params=params,
    )
    samples = pd.read_parquet(folder / "samples.parquet")
    write_table(samples[[name for name in KEPT if name in samples]], out)
