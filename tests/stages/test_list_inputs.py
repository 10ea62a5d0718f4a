"""What each method reads, by checksum: its own entry moves with it, and no other's does."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deixis.core.records import read_json
from stages.list_inputs import list_inputs

ROOT = Path(__file__).parents[2]
STORES = ("detector", "contrastive_vit", "distilled_vit", "segmentation_vit", "contrastive_convnet")


@pytest.fixture
def world(tmp_path):
    for store in STORES:
        write(tmp_path / "features" / store / "meta.json")
        write(tmp_path / "features" / store / "shard-00000.map.npy")
    for name in (*STORES, "backbone", "segmenter"):
        write(tmp_path / "weights" / name / "model.safetensors")
    name_methods(tmp_path)
    return tmp_path


def write(path: Path, text: str = "first") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def name_methods(folder: Path, sections: dict[str, dict] | None = None, **run: list[str]) -> None:
    settings = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    settings["run"] |= {"teachers": ["refclip", "dvin"], "students": ["simrec", "transvg"]} | run
    for section, changes in (sections or {}).items():
        settings[section] |= changes
    YAML().dump(settings, folder / "params.yaml")


def entries(folder: Path, *, of_teachers: bool = True) -> dict:
    features = folder / "features" if of_teachers else None
    list_inputs(
        weights=folder / "weights", features=features, out=folder / "inputs.json", params=folder / "params.yaml"
    )
    return read_json(folder / "inputs.json", made_by="list_inputs")


def folders(entry: str) -> set[str]:
    """Names of the folders that an entry lists."""
    return {part.split()[0] for part in entry.split(", ")}


def test_another_teacher_and_its_features_change_no_other_entry(world):
    before = entries(world)["teachers"]
    name_methods(world, teachers=["refclip", "dvin", "weakmcn"])
    write(world / "features/box_masks/meta.json")
    write(world / "weights/prototype_masks/model.safetensors")
    after = entries(world)["teachers"]
    assert {name: after[name] for name in before} == before
    assert folders(after["weakmcn"]["features"]) == {"detector", "distilled_vit", "segmentation_vit", "box_masks"}


@pytest.mark.parametrize("changed", ["features/distilled_vit/meta.json", "weights/distilled_vit/model.safetensors"])
def test_what_a_teacher_reads_changes_its_entry_alone(world, changed):
    before = entries(world)["teachers"]
    write(world / changed, "second")
    after = entries(world)["teachers"]
    assert after["dvin"] != before["dvin"]
    assert after["refclip"] == before["refclip"]


def test_what_is_missing_is_named_as_missing(world):
    name_methods(world, teachers=["weakmcn"])
    assert entries(world)["teachers"]["weakmcn"]["features"].startswith("box_masks missing, detector ")


def test_students_and_teachers_of_response_maps_list_what_they_read(world):
    name_methods(world, map_teachers=["tris", "pcnet"], upper_bounds=["mcn"])
    students = entries(world, of_teachers=False)["students"]
    assert set(students) == {"simrec", "transvg", "mcn"}
    assert folders(students["simrec"]) == {"backbone"}
    teachers = entries(world)["map_teachers"]
    assert folders(teachers["tris"]["weights"]) == {"backbone", "contrastive_vit"}
    assert teachers["pcnet"]["weights"] == teachers["tris"]["weights"]
    assert teachers["tris"]["features"] == "" and folders(teachers["pcnet"]["features"]) == {"cues", "proposals"}


def test_word_vectors_belong_to_the_method_that_names_them(world):
    settings = YAML(typ="safe").load((ROOT / "params.yaml").read_text())["teachers"]
    name_methods(world, {"teachers": {"dvin": settings["dvin"] | {"vectors": "glove"}}})
    write(world / "weights/glove/vectors.txt")
    teachers = entries(world)["teachers"]
    assert "glove " in teachers["dvin"]["weights"] and "glove" not in teachers["refclip"]["weights"]


def test_every_method_says_what_it_reads_at_the_papers_sizes(world):
    paper = ROOT / "scales/paper.yaml"
    list_inputs(weights=world / "weights", features=world / "features", out=world / "features.json", params=paper)
    list_inputs(weights=world / "weights", out=world / "starts.json", params=paper)
    run = YAML(typ="safe").load(paper.read_text())["run"]
    assert set(read_json(world / "features.json", made_by="list_inputs")["teachers"]) == set(run["teachers"])
    starts = read_json(world / "starts.json", made_by="list_inputs")
    assert set(starts["students"]) >= set(run["students"]) and all(starts["students"].values())
