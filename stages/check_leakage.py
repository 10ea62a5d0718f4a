"""Which evaluation images each frozen model has seen in its pretraining, and with what labels.

reads   pairs.parquet of every dataset; config.json and, of models trained here, training_images.parquet of every frozen
        model; cards of published ones; lists of ids, where there are any; params: run, datasets, scenes, leakage
writes  leakage.json: dataset -> split -> model -> images, overlap, level, basis
run     dvc repro check_leakage
"""

from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from deixis.core.cli import run_stage
from deixis.core.config import STRICT, load_params, read_section
from deixis.core.errors import DataError
from deixis.core.records import read_json, read_table, write_json
from deixis.weights.cards import find_card
from deixis.weights.exposure import EMBEDDED, LEVELS, ImageSet, Level, TrainingSet, exposure, read_ids


@dataclass(frozen=True, config=STRICT)
class LeakageParams:
    """The `leakage` section."""

    refuse_above: Level  # the most that any frozen model may have learned from an evaluation split
    id_lists: Path  # folder of <name of a set of images>.txt: ids that say more than the name


def check_leakage(*, prepared: Path, weights: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    """Compare every evaluation split with what every frozen model was trained on."""
    config = read_section(params, "leakage", LeakageParams)
    models = {path.parent.name: training_sets(path.parent, config.id_lists) for path in weights.glob("*/config.json")}
    report: dict[str, dict[str, dict[str, Any]]] = {}
    for dataset in read_section(params, "run.datasets", list):
        table = read_table(prepared / dataset / "pairs.parquet", columns=("image_id", "split"), made_by="prepare")
        source = images_from(dataset, params)
        report[dataset] = {
            str(split): {
                name: exposure(ImageSet(source, frozenset(group["image_id"])), sets)
                for name, sets in sorted(models.items())
            }
            for split, group in table.groupby("split")
            if split != "train"
        }
    write_json(report, out)
    refuse(report, above=config.refuse_above, params=params)


def images_from(dataset: str, params: Path) -> str | None:
    """The set that a dataset's images are from: as its entry says, our own if we draw them, or nobody knows."""
    sections = load_params(params)
    named = sections.get("datasets", {}).get(dataset, {}).get("images_from")
    return named or (EMBEDDED if dataset in sections.get("scenes", {}) else None)


def training_sets(folder: Path, id_lists: Path) -> list[TrainingSet]:
    """What a frozen model was trained on: its card if it is published, the ids kept with it if it was trained here.

    Raises:
        DataError: If the folder says neither.
    """
    facts = read_json(folder / "config.json", made_by="pretrain_*")
    if "card" in facts:
        return [
            TrainingSet(ImageSet(entry.images, listed_ids(entry.images, id_lists)), entry.labels)
            for entry in find_card(facts["card"]).trained_on
        ]
    if "labels" not in facts:
        raise DataError(
            f"{folder}/config.json: says neither `card` (the name of one of models/cards) nor `labels` (none, caption, "
            "box, mask). Without either nobody knows what the model has seen. Import or train it again."
        )
    ids = read_table(folder / "training_images.parquet", columns=("image_id",), made_by="pretrain_*")
    return [TrainingSet(ImageSet(facts.get("images_from", EMBEDDED), frozenset(ids["image_id"])), facts["labels"])]


def listed_ids(images: str, folder: Path) -> frozenset[int] | None:
    """Ids of a set of images, where someone has put a list of them."""
    path = folder / f"{images}.txt"
    return read_ids(path) if path.exists() else None


def refuse(report: dict[str, dict[str, dict[str, Any]]], *, above: Level, params: Path) -> None:
    """Stop the run where a model has learned more from an evaluation split than is allowed.

    Raises:
        DataError: Names every such model and split, and what fixes it.
    """
    too_much = [
        f"{model} and {dataset} {split}: {facts['level']} ({facts['basis']}, "
        f"{'?' if facts['overlap'] is None else facts['overlap']} of {facts['images']} images)"
        for dataset, splits in report.items()
        for split, models in splits.items()
        for model, facts in models.items()
        if LEVELS.index(facts["level"]) > LEVELS.index(above)
    ]
    if too_much:
        raise DataError(
            f"frozen models have learned more from evaluation images than {params} allows (leakage.refuse_above: "
            f"{above}): {'; '.join(too_much)}. Use a model trained without those images (write_exclusions lists them), "
            f"give the ids it was trained on (leakage.id_lists), or allow it: one of {', '.join(LEVELS)}. "
            "Then run: dvc repro check_leakage"
        )


if __name__ == "__main__":
    run_stage(check_leakage)
