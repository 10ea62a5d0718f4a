"""What the DVC graph promises: supervision is weak, dependencies are complete, every name resolves."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deixis.core.config import read_section
from deixis.core.fingerprint import FOLDERS, OF_METHODS, Code
from deixis.core.registry import resolve
from deixis.cues import CUE_SOURCES
from deixis.datasets import DATASETS
from models.backbones import BACKBONES
from models.detectors import DETECTORS
from models.experts import EXPERTS
from models.map_teachers import MAP_TEACHERS
from models.segmenters import SEGMENTERS
from models.students import STUDENTS
from models.teachers import TEACHERS
from models.text import TEXTS

ROOT = Path(__file__).parents[2]
MAY_READ_TRUTH = {
    "evaluate_teacher",
    "evaluate_map_teacher",
    "evaluate_relabelled",
    "evaluate_student",
    "evaluate_reference",
    "evaluate_segmenter",
    "train_upper_bound",
}
MAY_READ_OBJECTS = MAY_READ_TRUTH | {  # every annotated box; which of them a phrase means is truth, and not in it
    "train_student_on_annotations",
    "predict_reference",
    "measure_speed",
}
REGISTRIES = {
    "backbone": BACKBONES,
    "cue source": CUE_SOURCES,
    "dataset adapter": DATASETS,
    "detector": DETECTORS,
    "expert": EXPERTS,
    "map_teacher": MAP_TEACHERS,
    "segmenter": SEGMENTERS,
    "student": STUDENTS,
    "teacher": TEACHERS,
    "text": TEXTS,
}
CODE = "data/code.json"
DRAW_MASKS = ("segment_boxes", "correct_labels")


@cache
def stages() -> dict[str, Any]:
    entries = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in entries.items()}


def paths(stage: dict[str, Any], kind: str) -> list[str]:
    listed = []
    for entry in stage.get(kind, []):
        listed.append(entry if isinstance(entry, str) else next(iter(entry)))
    return listed


def outs(stage: dict[str, Any]) -> list[str]:
    return [path for kind in ("outs", "metrics", "plots") for path in paths(stage, kind)]


def inputs(stage: dict[str, Any]) -> list[str]:
    """What a stage depends on, files of parameters among it: another stage may have written those."""
    return [*paths(stage, "deps"), *parameter_files(stage)]


def parameter_files(stage: dict[str, Any]) -> list[str]:
    return [file for entry in stage.get("params", []) if isinstance(entry, dict) for file in entry]


def overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def generic(path: str) -> str:
    """Template fields become one wild card, so that the paths of differently written stages compare."""
    return re.sub(r"\$\{((item|run)\.[a-z_]+|key)\}", "*", path)


def upstream(name: str, graph: dict[str, Any]) -> set[str]:
    """All stages that `name` depends on, itself included."""
    reached, todo = set(), [name]
    while todo:
        current = todo.pop()
        if current not in reached:
            reached.add(current)
            read = [generic(path) for path in inputs(graph[current])]
            todo += [
                other
                for other, stage in graph.items()
                if any(overlap(generic(out), dep) for out in outs(stage) for dep in read)
            ]
    return reached


def reads_truth(stage: dict[str, Any]) -> bool:
    truth = "data/prepared/*/truth.parquet"
    return any(overlap(generic(dep), truth) for dep in inputs(stage))


@pytest.mark.parametrize("name", sorted(set(stages()) - MAY_READ_TRUTH - {"check_leakage", "build_report"}))
def test_no_training_or_labelling_stage_reaches_truth(name):
    graph = stages()
    chain = upstream(name, graph) if name not in ("predict_reference", "measure_speed") else {name}
    assert not [stage for stage in chain if reads_truth(graph[stage])]
    assert not chain & MAY_READ_TRUTH


@pytest.mark.parametrize("name", sorted(set(stages()) - MAY_READ_OBJECTS - {"check_leakage", "build_report"}))
def test_annotated_boxes_reach_only_stages_that_say_so_in_their_name(name):
    graph = stages()
    objects = "data/prepared/*/objects.parquet"
    chain = upstream(name, graph)
    assert not [stage for stage in chain if any(overlap(generic(dep), objects) for dep in inputs(graph[stage]))]
    assert not chain & MAY_READ_OBJECTS


# pretrain_crop_masks reads masks of training images, as other pretraining reads those of the detection split
@pytest.mark.parametrize("name", sorted(set(stages()) - {"prepare", "pretrain_crop_masks"}))
def test_only_prepare_reads_raw_data_and_images_are_tied_to_their_checksums(name):
    stage = stages()[name]
    assert not [path for path in paths(stage, "deps") if path.startswith("data/raw/$")]
    if "data/raw/$" in stage["cmd"] and not name.startswith(("make_", "prepare")):
        assert "--image-root data/raw/${item.dataset}/images" in stage["cmd"]
        assert "data/prepared/${item.dataset}/images.parquet" in paths(stage, "deps")


@pytest.mark.parametrize("name", ["predict_student", "predict_reference"])
def test_predictions_are_read_by_evaluation_alone(name):
    """An upper bound's answers come from truth: nothing may learn from them."""
    graph = stages()
    written = [generic(path) for path in outs(graph[name])]
    readers = {
        other
        for other, stage in graph.items()
        if any(overlap(generic(dep), path) or "data/predictions" in dep for dep in inputs(stage) for path in written)
    }
    assert readers == {"evaluate_student", "evaluate_reference"}


def test_what_people_decided_reaches_only_labels_that_say_so_in_their_name():
    graph = stages()
    readers = {
        name for name, stage in graph.items() if any(path.startswith("data/decisions/") for path in inputs(stage))
    }
    assert readers == {"correct_labels"}
    assert outs(graph["correct_labels"]) == ["data/labels/${item.dataset}/${item.teacher}-corrected"]


@pytest.mark.parametrize("name", sorted(MAY_READ_TRUTH - {"train_upper_bound"}))
def test_what_evaluation_writes_is_read_by_the_report_alone(name):
    graph = stages()
    written = [generic(path) for path in outs(graph[name])]
    readers = {
        other
        for other, stage in graph.items()
        if any(overlap(generic(dep), path) for dep in inputs(stage) for path in written)
    }
    assert readers <= {"build_report"}


def code_entries(stage: dict[str, Any]) -> list[str]:
    """What a stage depends on in the list of code."""
    return [key for entry in stage.get("params", []) if isinstance(entry, dict) for key in entry.get(CODE, [])]


def module_of(stage: dict[str, Any]) -> str:
    return re.search(r"python -m ([a-z]+\.\w+)", stage["cmd"]).group(1)


@pytest.mark.parametrize("name", sorted(set(stages()) - {"list_code"}))
def test_a_stage_depends_on_the_fingerprint_of_its_module_and_of_the_methods_that_it_loads(name):
    stage = stages()[name]
    entries = code_entries(stage)
    assert entries[0] == module_of(stage)
    closure = Code(ROOT).closure(entries[0])
    loaded = {package for package in OF_METHODS if package in closure}
    listed = {".".join(entry.split(".")[:2]) for entry in entries[1:]}
    # the list of one dataset reads teachers alone, that of what training starts from students alone
    assert listed < loaded if entries[0] == "stages.list_inputs" else listed == loaded


@pytest.mark.parametrize("name", sorted(stages()))
def test_code_is_no_dependency_but_of_the_list(name):
    code = [path for path in paths(stages()[name], "deps") if path.split("/")[0] in FOLDERS]
    if name == "list_code":
        listed = {str(path.relative_to(ROOT)) for path in (ROOT / "claims").glob("*.py")}
        assert set(code) == {*FOLDERS, *listed} - {"claims"}
    else:
        assert not [path for path in code if path.endswith(".py") or any((ROOT / path).rglob("*.py"))]


def test_the_graph_can_be_read_at_one_sitting():
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 750


@pytest.mark.parametrize("name", sorted(stages()))
def test_paths_in_the_command_are_declared(name):
    stage = stages()[name]
    declared = [*paths(stage, "deps"), *outs(stage)]
    if any(overlap("data/prepared/${item.dataset}/images.parquet", path) for path in declared):
        declared.append("data/raw")  # its checksums stand for the image folder
    if any(path.startswith("data/inputs/") for path in parameter_files(stage)):  # its checksums stand for what is read
        declared.append("${weights}")
    if "data/inputs/${item.dataset}.json" in parameter_files(stage):
        declared.append("data/features/${item.dataset}")
    used = [word for word in stage["cmd"].split() if re.match(r"(data|reports|\$\{weights\})(/|$)", word)]
    assert not [path for path in used if not any(overlap(path, known) for known in declared)]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, stage in stages().items()
        if any("data/inputs/" in file for file in parameter_files(stage)) and name not in DRAW_MASKS
    ],
)
def test_a_stage_depends_on_the_list_of_its_own_method(name):
    stage = stages()[name]
    files = {file: keys for entry in stage["params"] if isinstance(entry, dict) for file, keys in entry.items()}
    [method] = [entry.removeprefix("models.") for entry in code_entries(stage)[1:]]
    of = "starts" if method.startswith("students.") else "${item.dataset}"
    assert files[f"data/inputs/{of}.json"] == [method]


def test_training_has_a_seed_apart_from_that_of_the_world():
    """Another training seed must leave images, phrases and frozen models as they are: then two trainings pair."""
    seeds = {
        name: {key for key in stage.get("params", []) if key in ("seed", "training_seed")}
        for name, stage in stages().items()
    }
    trainings = {
        "train_teacher",
        "train_map_teacher",
        "train_student",
        "train_student_on_annotations",
        "train_upper_bound",
    }
    assert {name for name, keys in seeds.items() if keys == {"training_seed"}} == trainings
    graph = stages()
    assert not [name for name in ("prepare", "extract_features") if upstream(name, graph) & trainings]


@pytest.mark.parametrize("name", DRAW_MASKS)
def test_masks_depend_on_the_segmenter_where_there_is_one(name):
    """By its checksum: photographs have none, and a path that is not there would stop the graph."""
    listed = [entry for entry in stages()[name]["params"] if isinstance(entry, dict)]
    assert {"data/inputs/${item.dataset}.json": ["segmenter"]} in listed


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, registry in REGISTRIES.items() for name in registry])
def test_every_registry_string_resolves(role, name):
    assert resolve(REGISTRIES[role], name, role=role)
    module = REGISTRIES[role][name].split(":")[0]
    assert role in ("cue source", "dataset adapter") or module.endswith(f".{name}")


def test_every_setting_of_params_parses(tmp_path):
    from deixis.labelling.rating import RatingParams
    from deixis.training.fit import Recipe
    from stages.evaluate import EvaluationParams
    from stages.measure_speed import SpeedParams
    from stages.pretrain_backbone import BackboneParams
    from stages.pretrain_crop_masks import CropMaskParams
    from stages.pretrain_detector import DetectorParams
    from stages.pretrain_mask_head import MaskHeadParams
    from stages.pretrain_segmenter import SegmenterParams
    from stages.write_cues import CueParams
    from stages.write_pseudo_labels import LabelParams

    params = ROOT / "params.yaml"
    for section, kind in {
        "detector": DetectorParams, "segmenter": SegmenterParams, "backbone": BackboneParams, "labels": LabelParams,
        "ratings": RatingParams, "cues": CueParams, "mask_heads.prototype_masks": MaskHeadParams,
        "crop_masks": CropMaskParams,
        "evaluation": EvaluationParams, "speed": SpeedParams,
    }.items():  # fmt: skip
        assert read_section(params, section, kind)
    for group, registry in {"teachers": TEACHERS, "students": STUDENTS, "experts": EXPERTS}.items():
        for name in YAML(typ="safe").load(params.read_text())[group]:
            assert read_section(params, f"{group}.{name}.model", resolve(registry, name, role=group).Config)
            assert read_section(params, f"{group}.{name}.recipe", Recipe)
