"""How much a teacher varies between trainings that differ by seed alone, and what `deixis compare` makes of that.

Run after `dvc repro`: python -m benchmarks.training_seeds [--dataset scenes_plus] [--teacher refclip] [--count 20]
Its scores go into reports/seeds.json, which `deixis compare` reads. Truth is read here to measure.
"""

import argparse
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from deixis.core.config import load_params
from deixis.core.progress import quietly, say
from deixis.core.records import read_json, write_json
from deixis.measuring.metrics import THRESHOLD, box_array, box_iou
from deixis.measuring.paired import LEVEL, Trainings, paired_difference
from stages.train_teacher import train_teacher
from stages.write_pseudo_labels import write_pseudo_labels

RESAMPLES = 1999


def main() -> None:
    """Train, write the scores down, and print in how many pairs a difference would be called."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="scenes_plus")
    parser.add_argument("--teacher", default="refclip")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("reports/seeds.json"))
    options = parser.parse_args()
    hits = pd.DataFrame({seed: train(options, seed) for seed in range(options.count)})
    pairs = pd.read_parquet(options.data / "prepared" / options.dataset / "pairs.parquet").set_index("sample_id")
    splits = pairs.loc[hits.index, "split"]
    scores = {f"acc50_{split}": part.mean() for split, part in hits.groupby(splits)}
    scores = {name.removesuffix("_val"): [round(float(score), 4) for score in part] for name, part in scores.items()}
    known = read_json(options.out, made_by="this benchmark") if options.out.exists() else {}
    known.setdefault(options.dataset, {})[options.teacher] = scores
    write_json(known, options.out)
    val = hits[splits == "val"]
    images = pairs.loc[val.index, "image_id"].to_numpy()
    spread = Trainings.of(scores["acc50"])
    print(f"val: mean {np.mean(scores['acc50']):.3f}, standard deviation over seeds {spread.deviation:.4f}")
    for about, trainings in (("images alone", None), ("images and seeds", spread)):
        called = [is_called(val[one], val[other], images, trainings) for one, other in combinations(val, 2)]
        print(f"intervals over {about}: {sum(called)} of {len(called)} pairs called better or worse")


def train(options: argparse.Namespace, seed: int) -> pd.Series:
    """Whether each evaluation phrase is answered rightly, by sample, after a training with this seed."""
    prepared, features = (options.data / kind / options.dataset for kind in ("prepared", "features"))
    with tempfile.TemporaryDirectory() as folder, quietly():
        out, params = Path(folder), Path(folder) / "params.yaml"
        with params.open("w", encoding="utf-8") as stream:
            YAML(typ="safe").dump(load_params(Path("params.yaml")) | {"training_seed": seed}, stream)
        pairs = prepared / "pairs.parquet"
        train_teacher(
            teacher=options.teacher, pairs=pairs, features=features, out=out / "teacher", curves=out / "curves.csv",
            weights=options.data / "weights" / "embedded", params=params,
        )  # fmt: skip
        write_pseudo_labels(
            pairs=pairs, images=prepared / "images.parquet", features=features, teacher=out / "teacher",
            out=out / "labels", params=params,
        )  # fmt: skip
        labels = pd.read_parquet(out / "labels" / "boxes.parquet").set_index("sample_id")
    labels = labels[labels["split"] != "train"].sort_index()
    truth = pd.read_parquet(prepared / "truth.parquet").set_index("sample_id").loc[labels.index, "box"]
    hits = pd.Series(box_iou(box_array(labels["box"]), box_array(truth)) > THRESHOLD, labels.index)
    say(f"seed {seed}: {100 * hits[labels['split'] == 'val'].mean():.1f} on val")
    return hits


def is_called(one: pd.Series, other: pd.Series, images: np.ndarray, trainings: Trainings | None) -> bool:
    """Whether the difference of two trainings counts as one."""
    found = paired_difference(
        one.to_numpy(float), other.to_numpy(float), images, trainings=trainings, resamples=RESAMPLES
    )
    return found is not None and found.p < LEVEL


if __name__ == "__main__":
    main()
