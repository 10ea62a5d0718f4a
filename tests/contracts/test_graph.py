"""What the DVC graph promises: supervision is weak, dependencies are complete, every name resolves."""

import re
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from deixis.core.config import read_section
from deixis.core.registry import resolve
from deixis.core.run_lists import RunParams
from deixis.cues import CUE_SOURCES
from deixis.datasets import DATASETS
from models.backbones import BACKBONES
from models.detectors import DETECTORS, MASK_HEADS
from models.experts import EXPERTS
from models.map_teachers import MAP_TEACHERS
from models.segmenters import SEGMENTERS
from models.students import STUDENTS
from models.teachers import TEACHERS
from models.text import TEXTS

ROOT = Path(__file__).parents[2]
FIRST_PARTY = ("deixis", "models", "stages")
MAY_READ_TRUTH = {
    "evaluate_teacher",
    "evaluate_map_teacher",
    "evaluate_proposal_teacher",
    "evaluate_detector_masks",
    "evaluate_rated_labels",
    "evaluate_student",
    "evaluate_student_on_annotations",
    "evaluate_upper_bound",
    "evaluate_segmenter",
    "train_upper_bound",
}
MAY_READ_OBJECTS = MAY_READ_TRUTH | {  # every annotated box; which of them a phrase means is truth, and not in it
    "train_student_on_annotations",
    "predict_student_on_annotations",
    "predict_upper_bound",
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
LAZY = {  # what a stage loads through a registry, by the module that asks
    "models.loading.students": [target.split(":")[0] for target in STUDENTS.values()],
    "models.loading.teachers": [target.split(":")[0] for target in TEACHERS.values()],
    "models.loading.encoders": [
        target.split(":")[0] for registry in (DETECTORS, EXPERTS, SEGMENTERS) for target in registry.values()
    ],
    "stages.list_inputs": [
        target.split(":")[0] for registry in (TEACHERS, MAP_TEACHERS, STUDENTS) for target in registry.values()
    ],
    "stages.draw_candidates": [target.split(":")[0] for target in MASK_HEADS.values()],
    "stages.pretrain_expert": [target.split(":")[0] for target in EXPERTS.values()],
    "stages.prepare": [target.split(":")[0] for target in DATASETS.values()],
    "stages.train_map_teacher": [target.split(":")[0] for target in MAP_TEACHERS.values()],
    "stages.write_map_labels": [target.split(":")[0] for target in MAP_TEACHERS.values()],
    "stages.write_cues": [target.split(":")[0] for target in CUE_SOURCES.values()],
}


def stages() -> dict[str, Any]:
    found = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in found.items()}


def paths(stage: dict[str, Any], kind: str) -> list[str]:
    found = []
    for entry in stage.get(kind, []):
        found.append(entry if isinstance(entry, str) else next(iter(entry)))
    return found


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
    seen, todo = set(), [name]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            wanted = [generic(path) for path in inputs(graph[current])]
            todo += [
                other
                for other, stage in graph.items()
                if any(overlap(generic(out), dep) for out in outs(stage) for dep in wanted)
            ]
    return seen


def reads_truth(stage: dict[str, Any]) -> bool:
    truth = "data/prepared/*/truth.parquet"
    return any(overlap(generic(dep), truth) for dep in inputs(stage))


@pytest.mark.parametrize("name", sorted(set(stages()) - MAY_READ_TRUTH - {"check_leakage", "build_report"}))
def test_no_training_or_labelling_stage_reaches_truth(name):
    graph = stages()
    chain = upstream(name, graph) if name not in ("predict_upper_bound", "measure_speed") else {name}
    assert not [stage for stage in chain if reads_truth(graph[stage])]
    assert not chain & MAY_READ_TRUTH


@pytest.mark.parametrize("name", sorted(set(stages()) - MAY_READ_OBJECTS - {"check_leakage", "build_report"}))
def test_annotated_boxes_reach_only_stages_that_say_so_in_their_name(name):
    graph = stages()
    objects = "data/prepared/*/objects.parquet"
    chain = upstream(name, graph)
    assert not [stage for stage in chain if any(overlap(generic(dep), objects) for dep in inputs(graph[stage]))]
    assert not chain & MAY_READ_OBJECTS


@pytest.mark.parametrize("name", sorted(set(stages()) - {"prepare"}))
def test_only_prepare_reads_raw_data_and_images_are_tied_to_their_checksums(name):
    stage = stages()[name]
    assert not [path for path in paths(stage, "deps") if path.startswith("data/raw/$")]
    if "data/raw/$" in stage["cmd"] and not name.startswith(("make_", "prepare")):
        assert "--image-root data/raw/${item.dataset}/images" in stage["cmd"]
        assert "data/prepared/${item.dataset}/images.parquet" in paths(stage, "deps")


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


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph(*FIRST_PARTY, cache_dir=None)


def code_closure(module: str, imports) -> set[str]:
    todo, seen = [module], set()
    while todo:
        current = todo.pop()
        if current in seen or current not in imports.modules:
            continue
        seen.add(current)
        todo += [*imports.find_modules_directly_imported_by(current), *LAZY.get(current, [])]
    return seen


def source(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    return str((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).relative_to(ROOT))


def code_deps(stage: dict[str, Any]) -> set[str]:
    """First-party files and folders that a stage depends on.

    `models/teachers/${item.teacher}.py` stands for every registered teacher, and a parameter of the registry's file,
    such as `TEACHERS.${item.teacher}`, for that file: so a new method makes no other one stale.
    """
    found = [path for path in paths(stage, "deps") if path.startswith(FIRST_PARTY)]
    found += [file for file in parameter_files(stage) if file.startswith(FIRST_PARTY)]
    for path in [path for path in found if "${" in path]:
        folder = path.rsplit("/", 1)[0]
        modules = [target.split(":")[0] for registry in REGISTRIES.values() for target in registry.values()]
        found.remove(path)
        found += [file for file in map(source, modules) if file.rsplit("/", 1)[0] == folder]
    return set(found)


def imported_files(stage: dict[str, Any], imports) -> set[str]:
    module = re.search(r"python -m (stages\.\w+)", stage["cmd"]).group(1)
    return {source(found) for found in code_closure(module, imports)}


@pytest.mark.parametrize("name", sorted(stages()))
def test_deps_cover_every_first_party_module_that_the_stage_imports(name, imports):
    stage = stages()[name]
    wanted, deps = imported_files(stage, imports), code_deps(stage)
    unlisted = sorted(path for path in wanted if not any(overlap(path, dep) for dep in deps))
    assert not unlisted, f"dvc.yaml: add to the deps of {name}: {', '.join(unlisted)}"


@pytest.mark.parametrize("name", sorted(stages()))
def test_no_dependency_is_listed_that_the_stage_does_not_import(name, imports):
    stage = stages()[name]
    wanted = imported_files(stage, imports)
    code = [dep for dep in code_deps(stage) if dep.endswith(".py") or any((ROOT / dep).rglob("*.py"))]
    needless = sorted(dep for dep in code if not any(overlap(path, dep) for path in wanted))
    assert not needless, f"dvc.yaml: take from the deps of {name}: {', '.join(needless)}"


@pytest.mark.parametrize(
    ("folder", "item", "registry"),
    [("teachers", "teacher", TEACHERS), ("map_teachers", "teacher", MAP_TEACHERS), ("students", "student", STUDENTS)],
)
def test_a_stage_of_one_method_depends_on_that_method_alone(folder, item, registry, imports):
    asking = {asks for asks, targets in LAZY.items() if any(f"models.{folder}." in target for target in targets)}
    for name, stage in stages().items():
        files = [path for path in paths(stage, "deps") if path.startswith(f"models/{folder}/")]
        module = re.search(r"python -m (stages\.\w+)", stage["cmd"]).group(1)
        of_one_method = asking & code_closure(module, imports) and f"item.{item}" in stage["cmd"]
        if of_one_method:
            named = {target.split(":")[0].rsplit(".", 1)[1] for target in registry.values()}
            assert f"models/{folder}/${{item.{item}}}.py" in files, name
            assert not {Path(path).stem for path in files} & named, name
            assert {f"models/{folder}/__init__.py": [f"{folder.upper()}.${{item.{item}}}"]} in stage["params"], name


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
    "name", [name for name, stage in stages().items() if any("data/inputs/" in file for file in parameter_files(stage))]
)
def test_a_stage_depends_on_the_list_of_its_own_method(name):
    params = [entry for entry in stages()[name]["params"] if isinstance(entry, dict)]
    keys = {file: key for entry in params for file, (key,) in entry.items()}
    listed = [(file, key) for file, key in keys.items() if file.startswith("data/inputs/")]
    [(registry, method)] = [(file, key) for file, key in keys.items() if file.startswith("models/")]
    group = registry.split("/")[1]
    of = "${item.dataset}" if group == "teachers" else "starts"
    assert listed == [(f"data/inputs/{of}.json", f"{group}.{method.split('.', 1)[1]}")]


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, registry in REGISTRIES.items() for name in registry])
def test_every_registry_string_resolves(role, name):
    assert resolve(REGISTRIES[role], name, role=role)
    module = REGISTRIES[role][name].split(":")[0]
    assert role in ("cue source", "dataset adapter") or module.endswith(f".{name}")


def test_run_lists_name_what_exists():
    run = read_section(ROOT / "params.yaml", "run", RunParams)
    assert set(run.teachers) <= set(TEACHERS)
    assert set(run.students) | set(run.annotation_students) | set(run.upper_bounds) <= set(STUDENTS)
    assert set(run.encoders) - {"detector"} <= set(EXPERTS)
    rated = {f"{teacher}-rated" for teacher in run.rated_teachers}
    assert {run.reference_teacher} <= set(run.teachers) and set(run.student_teachers) <= set(run.teachers) | rated
    assert set(run.detector_mask_teachers) | set(run.rated_teachers) <= set(run.teachers)


def test_every_setting_of_params_parses(tmp_path):
    from deixis.labelling.rating import RatingParams
    from deixis.training.fit import Recipe
    from stages.evaluate import EvaluationParams
    from stages.measure_speed import SpeedParams
    from stages.pretrain_backbone import BackboneParams
    from stages.pretrain_detector import DetectorParams
    from stages.pretrain_mask_head import MaskHeadParams
    from stages.pretrain_segmenter import SegmenterParams
    from stages.write_cues import CueParams
    from stages.write_pseudo_labels import LabelParams

    params = ROOT / "params.yaml"
    for section, kind in {
        "detector": DetectorParams, "segmenter": SegmenterParams, "backbone": BackboneParams, "labels": LabelParams,
        "ratings": RatingParams, "cues": CueParams, "mask_heads.prototype_masks": MaskHeadParams,
        "evaluation": EvaluationParams, "speed": SpeedParams,
    }.items():  # fmt: skip
        assert read_section(params, section, kind)
    for group, registry in {"teachers": TEACHERS, "students": STUDENTS, "experts": EXPERTS}.items():
        for name in YAML(typ="safe").load(params.read_text())[group]:
            assert read_section(params, f"{group}.{name}.model", resolve(registry, name, role=group).Config)
            assert read_section(params, f"{group}.{name}.recipe", Recipe)
