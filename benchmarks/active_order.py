"""What reviewing is worth in a good order: labels that are right after so many decisions, against a random order.

Run after `dvc repro`, in one checkout or over several whose `seed` differs:
    python -m benchmarks.active_order [FOLDER ...] [--share 0.1] [--mistakes 0.05] [--decide decided]

Truth plays the person, who decides wrongly as often as --mistakes says: a wrong label stays, a right one is rejected.
Of the random order the expectation is taken, so no draw of it is lucky. The order itself reads no truth, and nothing in
it was chosen on worlds other than that of seed 0.

--decide writes the decisions themselves, of this order and of a random one, to train students on: copy a table to
data/decisions/<dataset>/decisions.parquet, and name the teacher under run.corrected in params.yaml.
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
from reviewing.decisions import Decision, sound_box
from reviewing.order import crowding, most_doubtful_first
from reviewing.table import write_decisions

RIGHT = 0.5  # IoU above which a label is right
SEED = 0  # of the random order and of mistakes
FIRST = 100  # the labels that somebody with an hour looks at


def main() -> None:
    """Print a table, a line per world, dataset and teacher, and write it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(".")])
    parser.add_argument("--datasets", nargs="+", default=["scenes", "scenes_plus"])
    parser.add_argument("--teachers", nargs="+", default=["refclip", "dvin"])
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--mistakes", type=float, default=0.05)
    parser.add_argument("--decide", type=Path)
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
                if options.decide:
                    place = options.decide / f"{seed}" / dataset / teacher
                    for name, order in both_orders(labels).items():
                        looked_at = labels.iloc[order[: round(options.share * len(labels))]]
                        write_decisions(decided(looked_at, mistakes=options.mistakes), place / f"{name}.parquet")
    table = pd.DataFrame(found)
    print(table.to_string(index=False))
    if options.out:
        facts = {"share": options.share, "mistakes": options.mistakes}
        options.out.write_text(json.dumps(facts | {"rows": found}, indent=2) + "\n")


def training_labels(data: Path, dataset: str, teacher: str) -> pd.DataFrame:
    """A teacher's labels of the training images, with columns `true`, the box, and `right`."""
    labels = pd.read_parquet(data / "labels" / dataset / teacher / "labels.parquet")
    truth = pd.read_parquet(data / "prepared" / dataset / "truth.parquet").set_index("sample_id")["box"]
    labels = labels[labels["split"] == "train"].reset_index(drop=True)
    true = torch.from_numpy(box_array(truth.loc[labels["sample_id"]]))
    right = paired_iou(torch.from_numpy(box_array(labels["box"])), true) > RIGHT
    return labels.assign(true=truth.loc[labels["sample_id"]].tolist(), right=right.numpy())


def both_orders(labels: pd.DataFrame) -> dict[str, np.ndarray]:
    """The order, and a random one."""
    about = labels["image_id"].to_numpy(), box_array(labels["box"]), labels["margin"].to_numpy(float)
    return {"doubt": most_doubtful_first(*about), "random": np.random.default_rng(SEED).permutation(len(labels))}


def decided(labels: pd.DataFrame, *, mistakes: float) -> list[Decision]:
    """What a person who knows the truth says of labels, but for mistakes."""
    errs = np.random.default_rng(SEED).random(len(labels)) < mistakes
    return [decision(row, err=bool(err)) for row, err in zip(labels.to_dict("records"), errs, strict=True)]


def decision(row: dict[str, Any], *, err: bool) -> Decision:
    """About one label: a wrong one is put right or, by mistake, accepted; a right one accepted or rejected."""
    given, true = sound_box(row["box"]), sound_box(row["true"])
    verdict = ("reject" if row["right"] else "accept") if err else ("accept" if row["right"] else "box")
    return Decision(
        sample_id=row["sample_id"],
        image_id=row["image_id"],
        expression=row["expression"],
        verdict=verdict,
        box={"accept": given, "reject": None, "box": true}[verdict],
        label_box=given,
        teacher=row["teacher"],
        checkpoint_sha256=row["checkpoint_sha256"],
        who="truth",
        when="2000-01-01T00:00:00.000000+00:00",
        source="benchmarks.active_order",
    )


def gains(labels: pd.DataFrame, *, share: float, mistakes: float) -> dict[str, Any]:
    """What each order wins over the random one, in points of label accuracy with an interval over images.

    Percent: labels that are wrong at first, among the first hundred, and among all that are looked at.
    """
    right = labels["right"].to_numpy(dtype=float)
    by_chance = share * (1 - mistakes) + (1 - share) * right
    orders = {
        "gain": both_orders(labels)["doubt"],
        "by margin": np.argsort(labels["margin"].to_numpy(), kind="stable"),
        "by crowding": np.argsort(-crowding(labels["image_id"].to_numpy(), box_array(labels["box"])), kind="stable"),
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
