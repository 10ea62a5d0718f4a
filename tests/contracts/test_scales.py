"""The papers' scale is the same graph with other parameters: they parse, and every stage of it resolves."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from deixis.core.config import load_params, read_section
from deixis.core.registry import resolve
from deixis.datasets import DATASETS
from deixis.fit import Recipe
from deixis.run_lists import RunParams
from deixis.weights.cards import find_card
from models.experts import EXPERTS
from models.map_teachers import MAP_TEACHERS
from models.students import STUDENTS
from models.teachers import TEACHERS
from stages.import_weights import REGISTRIES, ImportParams

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "scales" / "paper.yaml"
PARAMS = load_params(PAPER)
METHODS = [
    (group, name, registry)
    for group, registry in (("teachers", TEACHERS), ("map_teachers", MAP_TEACHERS), ("students", STUDENTS))
    for name in PARAMS[group]
]


@pytest.mark.parametrize(("group", "name", "registry"), METHODS, ids=[f"{group}-{name}" for group, name, _ in METHODS])
def test_every_method_has_the_papers_sizes_and_a_recipe(group, name, registry):
    kind = resolve(registry, name, role=group)
    assert read_section(PAPER, f"{group}.{name}.model", kind.Config)
    assert read_section(PAPER, f"{group}.{name}.recipe", Recipe).epochs >= 15


def test_all_methods_are_there():
    assert {group: set(PARAMS[group]) for group in ("teachers", "map_teachers", "students")} == {
        "teachers": set(TEACHERS), "map_teachers": set(MAP_TEACHERS), "students": set(STUDENTS),
    }  # fmt: skip


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
    assert hasattr(resolve(REGISTRIES[card.role], card.kind, role=card.role), "read_published")


def test_the_experts_maps_are_as_wide_as_dvin_expects():
    config = read_section(PAPER, "teachers.dvin.model", resolve(TEACHERS, "dvin", role="teacher").Config)
    assert set(config.experts) == set(PARAMS["imports"]) - {"detector", "segmenter", "backbone"}
    assert set(config.experts) <= set(EXPERTS)


def test_a_dry_run_resolves_every_stage(tmp_path):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(PAPER, tmp_path / "params.yaml")
    for registry in ("models/teachers", "models/map_teachers", "models/students"):  # their lines are parameters
        shutil.copytree(ROOT / registry, tmp_path / registry)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    done = subprocess.run([*dvc, "repro", "--dry", "--force"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for stage in ("import_weights@detector", "import_weights@backbone", "prepare@referit_berkeley",
                  "evaluate_teacher@refcoco_unc-weakmcn", "evaluate_student@refcocog_google-dvin-simrec",
                  "build_report"):  # fmt: skip
        assert f"Running stage '{stage}'" in done.stdout
    assert "make_scenes" not in done.stdout and "pretrain_" not in done.stdout
