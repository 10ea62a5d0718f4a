"""What reviewing is worth in a good order: labels that are right after so many decisions, against a random order.

Run after `dvc repro`, in one checkout or over several whose `seed` differs:
    python -m benchmarks.active_order [FOLDER ...] [--share 0.1] [--mistakes 0.05]

Truth plays the person, who decides wrongly as often as --mistakes says: a wrong label stays, a right one is spoilt. Of
the random order the expectation is taken, so no draw of it is lucky. The order itself reads no truth, and nothing in it
was chosen on worlds other than that of seed 0.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deixis.boxes import paired_iou
from deixis.core.config import read_section
from deixis.measuring.metrics import box_array
from deixis.measuring.paired import paired_difference
from reviewing.order import crowding, most_doubtful_first

RIGHT = 0.5  # IoU above which a label is right
FIRST = 100  # the labels that somebody with an hour looks at


def main() -> None:
    """Print a table, a line per world, dataset and teacher, and write it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(".")])
    parser.add_argument("--datasets", nargs="+", default=["scenes", "scenes_plus"])
    parser.add_argument("--teachers", nargs="+", default=["refclip", "dvin"])
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--mistakes", type=float, default=0.05)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for folder in options.folders:
        seed = read_section(folder / "params.yaml", "seed", int)
        for dataset in options.datasets:
            for teacher in options.teachers:
                labels = training_labels(folder / "data", dataset, teacher)
                gained = gains(labels, share=options.share, mistakes=options.mistakes)
                found.append({"seed": seed, "dataset": dataset, "teacher": teacher} | gained)
    table = pd.DataFrame(found)
    print(table.to_string(index=False))
    if options.out:
        facts = {"share": options.share, "mistakes": options.mistakes}
        options.out.write_text(json.dumps(facts | {"rows": found}, indent=2) + "\n")


def training_labels(data: Path, dataset: str, teacher: str) -> pd.DataFrame:
    """A teacher's labels of the training images, with a column `right`."""
    labels = pd.read_parquet(data / "labels" / dataset / teacher / "labels.parquet")
    truth = pd.read_parquet(data / "prepared" / dataset / "truth.parquet").set_index("sample_id")["box"]
    labels = labels[labels["split"] == "train"].reset_index(drop=True)
    true = torch.from_numpy(box_array(truth.loc[labels["sample_id"]]))
    right = paired_iou(torch.from_numpy(box_array(labels["box"])), true) > RIGHT
    return labels.assign(right=right.numpy())


def gains(labels: pd.DataFrame, *, share: float, mistakes: float) -> dict[str, Any]:
    """What each order wins over the random one, in points of label accuracy with an interval over images.

    Percent: labels that are wrong at first, among the first hundred, and among all that are looked at.
    """
    right = labels["right"].to_numpy(dtype=float)
    by_chance = share * (1 - mistakes) + (1 - share) * right
    orders = {
        "gain": most_doubtful_first(labels),
        "by margin": np.argsort(labels["margin"].to_numpy(), kind="stable"),
        "by crowding": np.argsort(-crowding(labels), kind="stable"),
    }
    count = round(share * len(labels))
    first = orders["gain"]
    row: dict[str, Any] = {
        "labels": len(labels),
        "wrong": percent(1 - right.mean()),
        f"of the first {FIRST}": percent(1 - right[first[:FIRST]].mean()),
        "of those looked at": percent(1 - right[first[:count]].mean()),
    }
    for name, order in orders.items():
        after = right.copy()
        after[order[:count]] = 1 - mistakes
        seen = paired_difference(by_chance, after, labels["image_id"].to_numpy())
        if seen is not None:
            row[name] = f"{percent(seen.head - seen.base)} [{percent(seen.low)}, {percent(seen.high)}]"
            row.setdefault("right ones per 100 decisions", percent((seen.head - seen.base) * len(labels) / count))
    return row


def percent(share: float) -> float:
    """One decimal."""
    return round(100 * float(share), 1)


if __name__ == "__main__":
    main()
