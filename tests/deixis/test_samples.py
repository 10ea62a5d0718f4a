"""Which phrases are about one object, and what may not be done where nobody says so."""

from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from deixis.core.errors import DataError
from deixis.samples import grouped_pairs, refuse_ungrouped
from stages.train_map_teacher import train_map_teacher
from stages.write_pseudo_labels import write_pseudo_labels

ROOT = Path(__file__).parents[2]


def write_pairs(folder: Path, refs: list[int | None]) -> Path:
    """A phrase per ref, two to a picture."""
    table = pd.DataFrame(
        {
            "sample_id": [str(number) for number in range(len(refs))],
            "image_id": [number // 2 for number in range(len(refs))],
            "expression": "red star",
            "text": "red star",
            "split": "train",
            "ref_id": pd.array(refs, dtype="Int64"),
        }
    )
    table.to_parquet(folder / "pairs.parquet")
    return folder / "pairs.parquet"


def write_params(folder: Path, **changes: object) -> Path:
    """params.yaml with some settings, named by their dotted path, changed."""
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    for path, value in changes.items():
        *sections, name = path.split(".")
        place = params
        for section in sections:
            place = place[section]
        place[name] = value
    yaml.dump(params, folder / "params.yaml")
    return folder / "params.yaml"


def test_only_a_set_that_groups_every_phrase_passes(tmp_path):
    whole = grouped_pairs(write_pairs(tmp_path, [1, 1, 2, 2]))
    refuse_ungrouped(whole, found_in=tmp_path, setting="labels.same_image", without="free")
    pairs = write_pairs(tmp_path, [1, 1, 2, None])
    with pytest.raises(DataError, match=r"1 of 4 phrases have no ref_id.*Allowed: labels.same_image: free.*dvc repro$"):
        refuse_ungrouped(grouped_pairs(pairs), found_in=pairs, setting="labels.same_image", without="free")


def test_distinct_labels_are_refused_to_phrases_that_nobody_grouped(tmp_path):
    pairs, nowhere = write_pairs(tmp_path, [None] * 4), tmp_path / "nowhere"
    params = write_params(tmp_path, **{"labels.same_image": "distinct"})
    with pytest.raises(DataError, match=r"pairs.parquet: 4 of 4 phrases have no ref_id.*labels.same_image: free"):
        write_pseudo_labels(
            pairs=pairs, images=nowhere, features=nowhere, teacher=nowhere, out=tmp_path, params=params, device="cpu"
        )


@pytest.mark.parametrize(
    ("teacher", "changes", "remedy"),
    [
        ("tris", {"same_image_negatives": 3}, "same_image_negatives: 0 in params.yaml"),
        ("pcnet", {}, "has_disambiguation: false in params.yaml"),
    ],
)
def test_a_teacher_that_parts_objects_refuses_phrases_that_nobody_grouped(tmp_path, teacher, changes, remedy):
    pairs, nowhere = write_pairs(tmp_path, [None] * 48), tmp_path / "nowhere"
    params = write_params(tmp_path, **{f"map_teachers.{teacher}.model.{name}": v for name, v in changes.items()})
    with pytest.raises(DataError, match=rf"48 of 48 phrases.*Allowed: map_teachers\.{teacher}\.model\.{remedy}"):
        train_map_teacher(
            teacher=teacher, pairs=pairs, images=nowhere, image_root=nowhere, weights=nowhere, out=tmp_path / "out",
            curves=tmp_path / "curves.csv", params=params, device="cpu",
        )  # fmt: skip
