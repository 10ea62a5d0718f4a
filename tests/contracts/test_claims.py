"""What the claims promise: every ablation is there, every name resolves, dependencies are complete."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from claims.entries import KINDS, Plan, Student, override, read_claims, read_variants
from claims.verdict import METRICS
from deixis.core.config import load_params, read_section
from deixis.core.fingerprint import OF_METHODS, Code
from deixis.core.registry import resolve
from deixis.training.fit import Recipe
from models.map_teachers import MAP_TEACHERS
from models.students import STUDENTS
from models.teachers import TEACHERS
from stages.evaluate import EvaluationParams
from stages.write_map_labels import MapLabelParams
from stages.write_pseudo_labels import LabelParams
from tests.contracts.test_graph import code_entries, module_of, overlap, paths

ROOT = Path(__file__).parents[2]
ENTRIES = ROOT / "claims" / "claims.yaml"
REGISTRIES = dict(zip(KINDS, (TEACHERS, MAP_TEACHERS, STUDENTS), strict=True))
# Tables of ablations, as ids of claims begin, and how many rows each has
ABLATIONS = {
    "refclip-1-": 3, "refclip-2-": 6, "refclip-3-": 2, "refclip-4-": 2,
    "dvin-1-": 6, "dvin-2-": 4, "dvin-3-": 2, "dvin-4-": 3,
    "weakmcn-1-": 3, "weakmcn-2-": 1, "weakmcn-3-": 3, "weakmcn-4-": 3,
    "tris-3-": 6, "tris-4-": 1, "tris-5-": 2,
    "pcnet-2-": 5, "pcnet-3-": 3, "pcnet-4-": 1, "pcnet-5-": 2, "pcnet-7-": 1, "pcnet-8-": 1, "pcnet-10-": 3,
    "students-": 4,
}  # fmt: skip
CLAIMS, VARIANTS = read_claims(ENTRIES), read_variants(ENTRIES)
MEASURED = [claim for claim in CLAIMS if not claim.missing]
PARAMS = load_params(ROOT / "params.yaml")
PLAN = read_section(ROOT / "claims" / "params.yaml", "measure", Plan)


@pytest.mark.parametrize(("prefix", "rows"), ABLATIONS.items())
def test_every_ablation_is_listed(prefix, rows):
    assert len([claim for claim in CLAIMS if claim.id.startswith(prefix)]) == rows


def test_no_claim_is_outside_the_list_or_twice_in_it():
    assert len(CLAIMS) == sum(ABLATIONS.values()) == len({claim.id for claim in CLAIMS})


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_row_has_the_papers_numbers_and_a_sentence(claim):
    assert re.search(r"\d\d?\.\d", claim.numbers)
    assert claim.statement.endswith(".") and claim.paper and claim.table


@pytest.mark.parametrize("claim", MEASURED, ids=lambda claim: claim.id)
def test_every_measured_claim_names_known_sides_and_metrics(claim):
    assert {claim.metric, claim.baseline_metric or claim.metric} <= METRICS.keys()
    assert (claim.baseline, claim.baseline_metric) != (claim.variant, "")
    for side in (claim.baseline, claim.variant):
        name, _, reading = side.partition("/")
        assert not reading or reading in VARIANTS[name].readings


def test_every_variant_serves_a_claim():
    named = {side.partition("/")[0] for claim in MEASURED for side in (claim.baseline, claim.variant)}
    taught = {variant.teacher for variant in VARIANTS.values() if isinstance(variant, Student)}
    assert named | taught == VARIANTS.keys()
    assert "inputs" not in VARIANTS  # a folder beside theirs


def test_students_learn_from_teachers_and_names_are_used_once():
    sections = {kind: YAML(typ="safe").load(ENTRIES.read_text())[kind] for kind in KINDS}
    assert sum(map(len, sections.values())) == len(VARIANTS)
    assert {entry["teacher"] for entry in sections["students"].values()} <= sections["teachers"].keys()


@pytest.mark.parametrize("run", PLAN.seeds)
def test_every_variant_has_three_seeds_or_more_and_those_of_stored_features_eight(run):
    left_out = {"weakmcn"} if run == "default" else set()
    plan = replace(PLAN, run=run)
    for variant in VARIANTS.values():
        least = 0 if variant.method in left_out else 8 if variant.method in ("refclip", "dvin") else 3
        assert len(plan.seeds_of(variant.method)) >= least


@pytest.mark.parametrize("name", VARIANTS)
def test_every_override_is_a_setting_that_changes_something(name):
    entry = VARIANTS[name]
    group = {"Teacher": "teachers", "MapTeacher": "map_teachers", "Student": "students"}[type(entry).__name__]
    config = resolve(REGISTRIES[group], entry.method, role=group).Config
    plain = override(PARAMS, PLAN.overrides)
    for changes in ({}, *getattr(entry, "readings", {}).values()):
        settings = override(override(plain, entry.overrides), changes)
        method = settings[group][entry.method]
        parsed = {"labels": LabelParams, "map_labels": MapLabelParams, "evaluation": EvaluationParams}
        for kind, values in [(config, method["model"]), (Recipe, method["recipe"])] + [
            (kind, settings[section]) for section, kind in parsed.items()
        ]:
            assert TypeAdapter(kind).validate_python(values)
        changed = entry.overrides | changes
        assert settings != plain or not changed
        assert all(key.startswith((f"{group}.{entry.method}.", "labels.", "map_labels.")) for key in changed)


@cache
def stages() -> dict[str, Any]:
    entries = YAML(typ="safe").load((ROOT / "claims" / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in entries.items()}


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_stage_depends_on_the_fingerprint_of_its_module_and_of_the_methods_that_it_loads(name):
    entries = code_entries(stages()[name])
    assert entries[0] == module_of(stages()[name])
    closure = Code(ROOT).closure(entries[0])
    loaded = {package for package in OF_METHODS if package in closure}
    assert {".".join(entry.split(".")[:2]) for entry in entries[1:]} == loaded


@pytest.mark.parametrize("name", sorted(stages()))
def test_truth_is_read_by_scoring_alone(name):
    named = [*paths(stages()[name], "deps"), *stages()[name]["cmd"].split()]
    assert (name == "score") == any(path.endswith("truth.parquet") for path in named)
    if name.startswith("run_"):  # no folder either that truth lies in
        assert not [path for path in named if re.fullmatch(r"data/prepared(/[^/]+)?/?", path)]


@pytest.mark.parametrize("name", sorted(stages()))
def test_paths_in_the_command_are_declared_and_start_at_the_root(name):
    stage = stages()[name]
    assert stage["wdir"] == ".."
    outs = [path if isinstance(path, str) else next(iter(path)) for path in stage["outs"]]
    declared = [*paths(stage, "deps"), *outs, "data/raw"]
    used = [word for word in stage["cmd"].split() if re.match(r"(data|reports|\$\{weights\})/", word)]
    assert not [path for path in used if not any(overlap(path, known) for known in declared)]


def test_the_default_run_reads_nothing_that_claims_write():
    graph = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    named = {path for stage in graph.values() for path in paths(stage, "deps") if "claims" in path}
    assert named == {str(path.relative_to(ROOT)) for path in (ROOT / "claims").glob("*.py")}
