"""Fewer or other labels: what a student learns from the surest, from those that a first student shares, or its own.

Each world is a checkout after `dvc repro` (`python -m benchmarks.worlds` makes some). The trained student answers the
training phrases. Students are then trained anew, all with one other training seed and as many steps: on all labels, on
those of the largest margins, on those that teacher and student agree about, and on the student's own answers. Truth is
read to measure.

run     python -m benchmarks.second_round scratch/worlds/1 scratch/worlds/2 scratch/worlds/3
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cyclopts import App
from ruamel.yaml import YAML

from answering.predictor import Predictor
from benchmarks.worlds import interval
from deixis.core.cli import run_app
from deixis.core.config import load_params
from deixis.core.progress import quietly, say
from deixis.core.records import write_json
from deixis.measuring.metrics import THRESHOLD, box_array, box_iou
from deixis.measuring.paired import paired_difference
from stages.train_student import train_student
from training.files import TrainingFiles

SEED = 1  # of the second trainings; the first have 0
FIRST = "all labels"
SUREST = 0.8


def main(
    *worlds: Path,
    dataset: str = "scenes",
    teacher: str = "dvin",
    student: str = "simrec",
    out: Path = Path("reports/second_round.json"),
) -> None:
    """Train the students of every world, and print how each kind of labels compares with all of them."""
    hits = [second_round(world, dataset, teacher, student) for world in worlds]
    result = {"worlds": [str(world) for world in worlds], "dataset": dataset, "teacher": teacher, "student": student}
    compared = {name: compare([of[0] for of in hits], name) for name in hits[0][0].columns}
    write_json(result | {"kept": [of[1] for of in hits], "val": compared}, out)
    print(pd.DataFrame(compared).T.to_string())


def second_round(world: Path, dataset: str, teacher: str, student: str) -> tuple[pd.DataFrame, float]:
    """Whether each val phrase is answered rightly, by kind of training labels; and the share of labels agreed upon."""
    data = world / "data"
    prepared = data / "prepared" / dataset
    images, pairs = (pd.read_parquet(prepared / f"{name}.parquet") for name in ("images", "pairs"))
    root = data / "raw" / dataset / "images"
    labels = pd.read_parquet(data / "labels" / dataset / teacher / "labels.parquet").set_index("sample_id")
    train, val = (pairs[pairs["split"] == split].reset_index(drop=True) for split in ("train", "val"))
    answers = answer(data / "students" / dataset / f"{teacher}-{student}", train, images, root)
    own = labels.loc[answers.index]
    agreed = own["accept"] & (box_iou(box_array(own["box"]), box_array(answers["box"])) > THRESHOLD)
    kinds = {
        FIRST: own,
        f"surest {SUREST:.0%}": own.assign(accept=own["accept"] & (own["margin"].rank(pct=True) > 1 - SUREST)),
        "agreed": own.assign(accept=agreed),
        "the student's": own.assign(box=answers["box"], accept=own["accept"]),
    }
    truth = pd.read_parquet(prepared / "truth.parquet").set_index("sample_id").loc[val["sample_id"], "box"]
    hits = {}
    for name, table in kinds.items():
        with tempfile.TemporaryDirectory() as folder, quietly():
            place = Path(folder)
            write_params(world / "params.yaml", student, share=float(table["accept"].mean()), to=place / "params.yaml")
            table.reset_index().to_parquet(place / "labels.parquet")
            files = TrainingFiles(
                images=prepared / "images.parquet", image_root=root, weights=data / "weights" / "embedded",
                out=place / "student", curves=place / "curves.csv", params=place / "params.yaml",
            )  # fmt: skip
            train_student(
                student=student, labels=place / "labels.parquet", pairs=prepared / "pairs.parquet", files=files
            )
            found = answer(place / "student", val, images, root, weights=files.weights)
        hits[name] = box_iou(box_array(found.loc[truth.index, "box"]), box_array(truth)) > THRESHOLD
        say(f"{world}: {name}: {100 * hits[name].mean():.1f}")
    return pd.DataFrame(hits, index=val["image_id"]), round(float(agreed.mean()), 3)


def answer(
    folder: Path, pairs: pd.DataFrame, images: pd.DataFrame, root: Path, weights: Path | None = None
) -> pd.DataFrame:
    """A student's boxes, by sample."""
    asked = images[images["image_id"].isin(pairs["image_id"])]
    with quietly():
        found = Predictor(folder, weights=weights).answer_pairs(pairs, asked, root, with_masks=False)
    return found.set_index("sample_id")


def write_params(params: Path, student: str, *, share: float, to: Path) -> None:
    """The world's settings with another training seed, and epochs for as many steps on a share of the labels."""
    stated: dict[str, Any] = dict(load_params(params)) | {"training_seed": SEED}
    recipe = stated["students"][student]["recipe"]
    recipe["epochs"] = round(recipe["epochs"] / share)
    with to.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(stated, stream)


def compare(hits: Sequence[pd.DataFrame], name: str) -> Mapping[str, Any]:
    """Acc@0.5 on one kind of labels in every world, and what it gains over all labels, over worlds and over images."""
    accuracies = [round(100 * float(of[name].mean()), 1) for of in hits]
    gains = [100 * float(of[name].mean() - of[FIRST].mean()) for of in hits]
    images = np.concatenate([[f"{number} {image}" for image in of.index] for number, of in enumerate(hits)])
    pooled = pd.concat(hits)
    over_images = paired_difference(pooled[FIRST].to_numpy(float), pooled[name].to_numpy(float), images)
    assert over_images is not None
    found: dict[str, Any] = {"each": accuracies, "gain": round(float(np.mean(gains)), 1)}
    if len(hits) > 1:
        found["over_worlds"] = [round(end, 1) for end in interval(gains)]
    return found | {"over_images": [round(100 * end, 1) for end in (over_images.low, over_images.high)]}


if __name__ == "__main__":
    run_app(App(name="python -m benchmarks.second_round", default_command=main, version_flags=[]))
