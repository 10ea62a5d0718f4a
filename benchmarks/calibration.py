"""How well a teacher's confidence says how often it is right, and the two numbers that would say it best.

Run after `dvc repro`: python -m benchmarks.calibration [--datasets scenes] [--teachers dvin]
Truth is read here to measure. The two numbers are fitted on train and judged on val; they belong into `calibration` of
the teacher's model in params.yaml.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit

from benchmarks.zero_shot_parts import calibration_error
from deixis.batches.features import open_stores, stored_frames
from deixis.batches.samples import grouped_pairs
from deixis.core.progress import quietly
from deixis.labelling.labelled_parts import label_pairs
from deixis.labelling.matching import Matcher
from deixis.labelling.rules import LabelParams
from deixis.measuring.metrics import box_array, box_iou
from models.loading.teachers import feature_names, load_teacher

SPLITS = ("train", "val")


def main() -> None:
    """Print a table, a line per dataset and teacher, and write it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["scenes", "scenes_plus"])
    parser.add_argument("--teachers", nargs="+", default=["refclip", "dvin"])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for teacher in options.teachers:
        answers = {dataset: answer(options.data, dataset, teacher) for dataset in options.datasets}
        shared = fit_line(*(np.concatenate(part) for part in zip(*(a["train"] for a in answers.values()), strict=True)))
        for dataset, of_split in answers.items():
            own = fit_line(*of_split["train"])
            odds, hits = of_split["val"]
            rows.append(
                {"dataset": dataset, "teacher": teacher, "val, as it is": calibration_error(expit(odds), hits)}
                | {"fitted here": own, "val, fitted here": calibration_error(expit(own[0] * odds + own[1]), hits)}
                | {"fitted on all": shared, "val": calibration_error(expit(shared[0] * odds + shared[1]), hits)}
            )
    print(pd.DataFrame(rows).to_string(index=False))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def answer(data: Path, dataset: str, teacher: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By split, for each phrase: log-odds of the chosen thing's share in the scores, and whether it is right."""
    prepared, features = (data / kind / dataset for kind in ("prepared", "features"))
    model: Any = load_teacher(data / "teachers" / dataset / teacher, torch.device("cpu"))
    model.calibration = (1.0, 0.0)
    frames = stored_frames(features / "detector", pd.read_parquet(prepared / "images.parquet"))
    table = grouped_pairs(prepared / "pairs.parquet")
    table = table[table["split"].isin(SPLITS)].reset_index(drop=True)
    matcher = Matcher(model, open_stores(features, feature_names(model)), frames, 128, torch.device("cpu"))
    with quietly():
        labels = label_pairs(matcher, table, LabelParams())
    truth = pd.read_parquet(prepared / "truth.parquet").set_index("sample_id").loc[table["sample_id"], "box"]
    hits = box_iou(box_array(labels["box"]), box_array(truth)) > 0.5
    odds = logit(labels["confidence"].to_numpy().clip(1e-6, 1 - 1e-6))
    return {split: (odds[rows], hits[rows]) for split in SPLITS for rows in [(table["split"] == split).to_numpy()]}


def fit_line(odds: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """Slope and offset under which the hits are most likely (Platt 1999)."""

    def loss(line: np.ndarray) -> float:
        return float(np.logaddexp(0, -np.where(hits, 1, -1) * (line[0] * odds + line[1])).mean())

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return round(float(slope), 2), round(float(offset), 2)


if __name__ == "__main__":
    main()
