"""What each part of the zero-shot teacher is worth on photographs: Acc@0.5 with all parts, and without each.

Run after `dvc repro` with scales/photographs.yaml: python -m benchmarks.zero_shot_parts [--splits train val]
Truth is read here to measure; settings are chosen on train.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deixis.batches.features import open_stores, stored_frames
from deixis.batches.samples import grouped_pairs
from deixis.core.progress import quietly
from deixis.labelling.labelled_parts import label_pairs
from deixis.labelling.matching import Matcher
from deixis.labelling.rules import LabelParams
from deixis.measuring.metrics import box_array, box_iou
from models.loading.teachers import feature_names, load_teacher

BINS = 5
PARTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "without words of place": {"weight_place": 0.0},
    "without the detector's confidence": {"weight_confidence": 0.0},
    "without the noun beside its phrase": {"share_noun": 0.0},
    "without class words": {"temperature": 1e6},
    "without colours": {"weight_colour": 0.0},
    "without size": {"weight_area": 0.0, "weight_size": 0.0},
    "without other things": {"weight_other": 0.0},
    "without CLIP": {"weight_crops": 0.0},  # left out where it looks at no box
}


def main() -> None:
    """Print a table of accuracies, and write it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="photos")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--splits", nargs="+", default=["train"])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings to try beside the parts")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = grouped_pairs(options.data / "prepared" / options.dataset / "pairs.parquet")
    table = table[table["split"].isin(options.splits)].reset_index(drop=True)
    tried = dict(PARTS) | {given: dict(pair.split("=") for pair in given.split(",")) for given in options.set}
    rows = [{"part": name} | scores for name, scores in _measure(options, table, tried)]
    print(pd.DataFrame(rows).to_string(index=False))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _measure(
    options: argparse.Namespace, table: pd.DataFrame, tried: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, float]]]:
    prepared, features = (options.data / kind / options.dataset for kind in ("prepared", "features"))
    model: Any = load_teacher(options.data / "teachers" / options.dataset / "zero_shot", torch.device("cpu"))
    frames = stored_frames(features / "detector", pd.read_parquet(prepared / "images.parquet"))
    truth = pd.read_parquet(prepared / "truth.parquet").set_index("sample_id").loc[table["sample_id"], "box"]
    matcher = Matcher(model, open_stores(features, feature_names(model)), frames, 128, torch.device("cpu"))
    config = model.config
    for name, changes in tried.items():
        if config.crops is None and "weight_crops" in changes:
            continue
        model.config = replace(config, **{key: float(value) for key, value in changes.items()})
        model.location_weight = model.config.weight_place
        with quietly():
            labels = label_pairs(matcher, table, LabelParams())
        hits = box_iou(box_array(labels["box"]), box_array(truth)) > 0.5
        of_split = {split: (table["split"] == split).to_numpy() for split in options.splits}
        if not changes:
            for split, rows in of_split.items():
                print(f"{split}: {sureness(labels['confidence'].to_numpy()[rows], hits[rows])}")
        yield name, {split: round(100 * float(np.mean(hits[rows])), 1) for split, rows in of_split.items()}


def sureness(confidence: np.ndarray, hits: np.ndarray) -> str:
    """The calibration error, and how often the surer half is right."""
    ordered = np.argsort(confidence, kind="stable")
    surer = hits[ordered[len(ordered) // 2 :]].mean()
    return f"calibration error {calibration_error(confidence, hits):.3f}, surer half right in {100 * surer:.1f} %"


def calibration_error(confidence: np.ndarray, hits: np.ndarray) -> float:
    """Expected calibration error over five bins of equal mass."""
    ordered = np.argsort(confidence, kind="stable")
    gaps = [abs(confidence[rows].mean() - hits[rows].mean()) * len(rows) for rows in np.array_split(ordered, BINS)]
    return round(float(sum(gaps) / len(hits)), 3)


if __name__ == "__main__":
    main()
