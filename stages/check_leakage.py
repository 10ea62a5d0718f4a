"""Which evaluation images each frozen model has seen in its pretraining, and with what labels.

reads   pairs.parquet of every dataset, config.json and training_images.parquet of every frozen model; params: run
writes  leakage.json: dataset -> split -> model -> images, overlap, level
run     dvc repro check_leakage
"""

from pathlib import Path

from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_json, read_table, write_json

# What was learned from a picture, from least to most; "none" also for a model that saw other pictures only.
LEVELS = {"none": "image_unlabelled", "caption": "caption", "box": "box", "mask": "mask"}


def check_leakage(*, prepared: Path, weights: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    """Compare image ids of every evaluation split with those every frozen model was trained on."""
    models = {}
    for folder in sorted(path.parent for path in weights.glob("*/config.json")):
        ids = read_table(folder / "training_images.parquet", columns=("image_id",), made_by="pretrain_*")
        labels = read_json(folder / "config.json", made_by="pretrain_*")["labels"]
        models[folder.name] = (frozenset(ids["image_id"]), LEVELS[labels])
    report: dict[str, dict[str, dict[str, object]]] = {}
    for dataset in read_section(params, "run.datasets", list[str]):
        table = read_table(prepared / dataset / "pairs.parquet", columns=("image_id", "split"), made_by="prepare")
        report[dataset] = {
            split: {name: exposure(frozenset(group["image_id"]), *model) for name, model in models.items()}
            for split, group in table.groupby("split")
            if split != "train"
        }
    write_json(report, out)


def exposure(evaluated: frozenset[int], seen: frozenset[int], level: str) -> dict[str, object]:
    """Overlap of one split with one model; zero overlap is level "none"."""
    overlap = len(evaluated & seen)
    return {"images": len(evaluated), "overlap": overlap, "level": level if overlap else "none"}


if __name__ == "__main__":
    run_stage(check_leakage)
