"""The papers' scale is the same graph with other parameters: they parse, and every stage of it resolves."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from deixis.core.config import load_params, read_section
from deixis.core.registry import resolve
from deixis.core.run_lists import RunParams
from deixis.datasets import DATASETS
from deixis.training.fit import Recipe
from deixis.weights.cards import find_card
from models.experts import EXPERTS
from models.frozen.importing import REGISTRIES
from models.map_teachers import MAP_TEACHERS
from models.students import STUDENTS
from models.teachers import TEACHERS
from stages.import_weights import ImportParams
from stages.propose_masks import ProposalParams
from tests.dvc_folder import init_dvc

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "scales" / "paper.yaml"
PHOTOGRAPHS = ROOT / "scales" / "photographs.yaml"
PARAMS = load_params(PAPER)
PUBLISHED = {
    "teachers": {"refclip", "dvin", "weakmcn"},
    "map_teachers": {"tris", "pcnet"},
    "students": {"simrec", "transvg", "realgin", "realgin_anchors", "mcn", "mattnet", "tris"},
}
METHOD_GROUPS = ("teachers", "students")
METHODS = [
    (group, name, registry)
    for group, registry in (("teachers", TEACHERS), ("map_teachers", MAP_TEACHERS), ("students", STUDENTS))
    for name in PARAMS[group]
]


@pytest.mark.parametrize("scale", [ROOT / "params.yaml", PAPER, PHOTOGRAPHS], ids=["embedded", "paper", "photographs"])
def test_every_parameter_that_a_stage_depends_on_is_there(scale):
    """DVC tells what is missing only when it runs the stage."""

    def value(key: str) -> Any:
        node: Any = load_params(scale)
        for part in key.split("."):
            assert isinstance(node, dict) and part in node, key
            node = node[part]
        return node

    named: set[str] = set()
    for stage in load_params(ROOT / "dvc.yaml")["stages"].values():
        lists = re.findall(r"\$\{([a-z_.]+)\}", str(stage.get("matrix") or stage.get("foreach") or ""))
        if all(value(key) for key in lists):  # else nothing is built of it
            params = stage.get("do", stage).get("params", [])
            named |= {key for key in params if isinstance(key, str) and "${" not in key}
    assert len(named) > 10
    for key in named:
        value(key)


@pytest.mark.parametrize(("group", "name", "registry"), METHODS, ids=[f"{group}-{name}" for group, name, _ in METHODS])
def test_every_method_has_the_papers_sizes_and_a_recipe(group, name, registry):
    kind = resolve(registry, name, role=group)
    assert read_section(PAPER, f"{group}.{name}.model", kind.Config)
    assert read_section(PAPER, f"{group}.{name}.recipe", Recipe).epochs >= 15


def test_all_published_methods_are_there():
    assert {group: set(PARAMS[group]) for group in PUBLISHED} == PUBLISHED


def test_the_run_builds_the_four_benchmarks_from_imported_weights():
    run = read_section(PAPER, "run", RunParams)
    assert run.datasets == ("refcoco_unc", "refcoco_plus_unc", "refcocog_google", "referit_berkeley")
    assert not (run.scenes or run.worlds or run.experts)
    assert set(run.encoders) <= set(PARAMS["imports"])
    for dataset in run.datasets:
        entry = read_section(PAPER, f"datasets.{dataset}", dict)
        adapter = resolve(DATASETS, entry["adapter"], role="dataset adapter")
        assert TypeAdapter(adapter.Config).validate_python(entry).images_from


@pytest.mark.parametrize("name", PARAMS["imports"])
def test_every_import_names_a_card_its_file_and_a_class_that_reads_it(name):
    entry = read_section(PAPER, f"imports.{name}", ImportParams)
    card = find_card(entry.card)
    assert entry.file == card.files[0].name
    if card.role != "vectors":
        assert hasattr(resolve(REGISTRIES[card.role], card.kind, role=card.role), "read_published")


def test_the_experts_maps_are_as_wide_as_dvin_expects():
    config = read_section(PAPER, "teachers.dvin.model", resolve(TEACHERS, "dvin", role="teacher").Config)
    assert set(config.experts) <= set(PARAMS["imports"]) and set(config.experts) <= set(EXPERTS)


def test_vectors_are_those_of_an_import_and_of_methods_that_the_papers_give_some():
    named = {name: entry.get("vectors") for group in METHOD_GROUPS for name, entry in PARAMS[group].items()}
    assert {name for name, vectors in named.items() if vectors} == {
        "refclip", "dvin", "weakmcn", "simrec", "realgin", "realgin_anchors", "mcn",
    }  # fmt: skip
    for vectors in filter(None, named.values()):
        assert find_card(PARAMS["imports"][vectors]["card"]).role == "vectors"


def test_proposals_lie_in_the_squares_of_the_teachers_that_weigh_them():
    assert read_section(PAPER, "proposals", ProposalParams).stretch  # CLIP's tower reads stretched images
    assert PARAMS["map_teachers"]["pcnet"]["model"]["towers"]["backbone"]["kind"] == "clip_resnet"


def test_a_dry_run_resolves_every_stage(tmp_path):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(PAPER, tmp_path / "params.yaml")
    for registry in ("models/teachers", "models/map_teachers", "models/students"):  # their lines are parameters
        shutil.copytree(ROOT / registry, tmp_path / registry)
    init_dvc(tmp_path)
    command = [sys.executable, "-m", "dvc", "repro", "--dry", "--force"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for stage in ("import_weights@detector", "import_weights@backbone", "prepare@referit_berkeley",
                  "evaluate_teacher@refcoco_unc-weakmcn", "evaluate_student@refcocog_google-dvin-simrec",
                  "import_weights@vectors", "train_map_teacher@referit_berkeley-tris",
                  "train_map_teacher@refcoco_unc-pcnet", "train_student@refcoco_unc-dvin-transvg",
                  "build_report"):  # fmt: skip
        assert f"Running stage '{stage}'" in done.stdout
    assert "make_scenes" not in done.stdout and "pretrain_" not in done.stdout
