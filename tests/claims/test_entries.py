"""Overrides reach what they name, and half a claim is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from claims.entries import Claim, Plan, Student, Teacher, override, params_of, read_claims, read_variants
from deixis.core.errors import ConfigError

PARAMS = {"seed": 0, "teachers": {"refclip": {"model": {"keep_fraction": 0.2}, "recipe": {"epochs": 3}}}}
COUNTS = {"refclip": 3, "tris": 2, "simrec": 0}
PLAN = Plan(splits=("val",), run="default", seeds={"default": COUNTS}, overrides={"teachers.refclip.recipe.epochs": 1})
WORDS = {"id": "a", "paper": "p", "table": "t", "numbers": "1 → 2", "statement": "s"}
SIDES = {"metric": "acc50", "baseline": "b", "variant": "v"}


def test_an_override_changes_its_key_and_leaves_the_original():
    changed = override(PARAMS, {"teachers.refclip.model.keep_fraction": 1.0, "teachers.refclip.model.negatives": 1})
    assert changed["teachers"]["refclip"]["model"] == {"keep_fraction": 1.0, "negatives": 1}
    assert changed["teachers"]["refclip"]["recipe"] == {"epochs": 3}
    assert PARAMS["teachers"]["refclip"]["model"] == {"keep_fraction": 0.2}


def test_an_override_of_no_section_says_which_there_are():
    with pytest.raises(ConfigError, match=r'no section "dvin" there\. Known: refclip'):
        override(PARAMS, {"teachers.dvin.model.top_experts": 1})


def test_a_variant_outranks_what_all_share_and_the_seed_is_its_own(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: 0\nteachers: {refclip: {recipe: {epochs: 3, batch_size: 8}}}\n")
    settings = params_of(path, PLAN, {"teachers.refclip.recipe.batch_size": 4}, seed=7)
    assert (settings.pop("seed"), settings.pop("training_seed")) == (7, 7)
    assert settings == {"teachers": {"refclip": {"recipe": {"epochs": 1, "batch_size": 4}}}}
    assert params_of(path, PLAN, {"teachers.refclip.recipe.epochs": 2}, seed=7)["teachers"]["refclip"]["recipe"] == {
        "epochs": 2, "batch_size": 8,
    }  # fmt: skip


def test_a_plan_names_the_seeds_of_every_method():
    assert [len(PLAN.seeds_of(method)) for method in ("refclip", "tris", "simrec")] == [3, 2, 0]
    with pytest.raises(ConfigError, match=r"seeds\.default\.dvin is missing\. Allowed: a number of trainings"):
        PLAN.seeds_of("dvin")
    with pytest.raises(ConfigError, match=r"seeds\.default\.refclip is -1\. Allowed: a number of trainings"):
        replace(PLAN, seeds={"default": {"refclip": -1}}).seeds_of("refclip")
    with pytest.raises(ValueError, match=r"measure\.run is short\. Allowed: default"):
        Plan(splits=("val",), run="short", seeds={"default": COUNTS}, overrides={})


@pytest.mark.parametrize("fields", [{}, {"metric": "acc50", "variant": "v"}, SIDES | {"missing": "a switch"}])
def test_a_claim_is_measured_or_missing_and_not_both(fields):
    with pytest.raises(ValueError, match="a must have either metric, baseline and variant, or missing"):
        Claim(**WORDS, **fields)


def test_those_teach_from_whom_a_student_learns():
    variants = read_variants(Path(__file__).parents[2] / "claims" / "claims.yaml")
    teachers = {variant.teacher for variant in variants.values() if isinstance(variant, Student)}
    assert {name for name, entry in variants.items() if isinstance(entry, Teacher) and entry.teaches} == teachers


def test_a_faulty_entry_is_named(tmp_path: Path):
    path = tmp_path / "claims.yaml"
    path.write_text("claims: [{id: a, paper: p}]\n")
    with pytest.raises(ConfigError, match=r"(?s)claims: .*table.*Fix it, then run: dvc repro claims/dvc\.yaml"):
        read_claims(path)


@pytest.mark.parametrize("fields", [{"direction": "same"}, {"direction": "not_lower"}, {"margin": 0.1}])
def test_a_margin_belongs_to_claims_of_no_difference(fields):
    with pytest.raises(ValueError, match="a margin belongs to same and not_lower"):
        Claim(**WORDS, **SIDES, **fields)
