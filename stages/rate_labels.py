"""Rate a teacher's labels by margin, stability and agreement, and accept the most confident. No truth is read.

reads   labels.parquet, what each teacher answered again, the teacher's card; params: run.teachers, ratings.coverage
writes  labels.parquet of the same rows with agreement, stability and confidence (deixis/labelling/confidence.py), and
        beside it the card, as config.json
run     dvc repro rate_labels@scenes_plus-dvin, with dvin under run.rated in params.yaml
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deixis.boxes import paired_iou
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.progress import say
from deixis.core.records import read_json, read_table, write_json, write_table
from deixis.labelling.confidence import rate
from deixis.labelling.label_columns import LABEL_COLUMNS
from deixis.labelling.rating import RatingParams
from deixis.measuring.metrics import box_array

OPTIONAL_COLUMNS = ("prompted_mask", "supervision")


def rate_labels(
    *, teacher: str, labels: Path, again: Path, card: Path, out: Path, params: Path = Path("params.yaml")
) -> None:
    """Rate a teacher's labels and accept the most confident of them."""
    coverage = read_section(params, "ratings", RatingParams).coverage
    teachers = read_section(params, "run.teachers", list)
    others = [name for name in teachers if name != teacher]
    if not others:
        raise ConfigError(
            f"{params}: run.teachers is [{', '.join(teachers)}]; labels are rated by agreement with another teacher's. "
            f"Add one, as run.teachers: [refclip, {teacher}], or empty run.rated, then run: dvc repro"
        )
    table = read_table(labels, columns=LABEL_COLUMNS, optional=OPTIONAL_COLUMNS, made_by="segment_boxes")
    boxes = torch.from_numpy(box_array(table["box"]))
    stability = paired_iou(boxes, answers(again / f"{teacher}.parquet", table, "box_again")).numpy()
    agreement = np.stack([paired_iou(boxes, answers(again / f"{o}.parquet", table, "box")).numpy() for o in others], 1)
    image_ids = table["image_id"].to_numpy()
    confidence = rate(table["margin"].to_numpy(), stability=stability, agreement=agreement, image_ids=image_ids)
    table = table.assign(agreement=agreement.mean(1), stability=stability, confidence=confidence)
    table = accept_most_confident(table, coverage)
    write_table(table, out)
    write_json(read_json(card, made_by="train_teacher"), out.with_name("config.json"))
    share = table.loc[table["split"] == "train", "accept"].mean()
    say(f"mean confidence {confidence.mean():.3f}; {100 * share:.0f} % of the training labels are accepted")


def accept_most_confident(table: pd.DataFrame, coverage: float) -> pd.DataFrame:
    """Refuse the training labels of least confidence, of equal ones those of smaller margin, beside those refused."""
    ordered = table[table["split"] == "train"].sort_values(["confidence", "margin"], kind="stable")
    refused = ordered.index[: round((1 - coverage) * len(ordered))]
    refused = refused[table.loc[refused, "accept"].to_numpy()]
    table = table.copy()
    table.loc[refused, "reason"] = "confidence"
    return table.assign(accept=table["reason"] == "")


def answers(path: Path, table: pd.DataFrame, column: str) -> torch.Tensor:
    """A column of boxes for the rows of `table`, [labels, 4].

    Raises:
        DataError: If a label has none.
    """
    stored = read_table(path, columns=("sample_id", column), made_by="label_again").set_index("sample_id")[column]
    missing = sorted(set(table["sample_id"]) - set(stored.index))
    if missing:
        raise DataError(
            f"{path}: has no row {missing[0]}, as {len(missing)} of the {len(table)} labels. Every label needs one. "
            "Run: dvc repro -f label_again"
        )
    return torch.from_numpy(box_array(stored.loc[table["sample_id"]]))


if __name__ == "__main__":
    run_stage(rate_labels)
