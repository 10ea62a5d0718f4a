"""Six numbers a predictor, so that what DVC prints of all of them fits a screen."""

from pathlib import Path

import pytest
from dvc.compare import show_diff, show_metrics
from dvc.utils.diff import diff

from deixis.core.config import read_section
from deixis.core.run_lists import RunParams
from deixis.measuring.headlines import headlines

ROOT = Path(__file__).parents[3]
SCREEN = {"columns": 120, "lines": 40}
PART = {"n": 873, "acc50": 0.824786, "acc50_lo": 0.78, "miou": 0.694656, "groups": {"simple": {"n": 1}}}
REPORT = {"testA": PART, "testB": PART, "val": PART | {"acc50": 0.73}, "meta": {"seed": 0}}


def shown_of(run: RunParams, report: dict) -> dict:
    """What DVC reads of the files of a whole run, by path."""
    return {
        f"reports/headlines/{dataset}/{predictor}.json": {"data": headlines(report)}
        for dataset in run.datasets
        for predictor in run.predictors(dataset)
    }


@pytest.fixture
def run() -> RunParams:
    return read_section(ROOT / "params.yaml", "run", RunParams)


def test_headlines_are_those_of_val_and_acc50_of_the_others():
    assert headlines(REPORT) == {
        "n": 873, "acc50": 0.73, "miou": 0.6947, "acc50_testA": 0.8248, "acc50_testB": 0.8248
    }  # fmt: skip


def test_what_answers_with_boxes_alone_has_no_miou():
    assert headlines({"test": {"n": 5, "acc50": 1.0}, "meta": {}}) == {"n": 5, "acc50": 1.0}


def test_they_are_six_however_many_splits_a_corpus_has():
    assert len(headlines({name: PART for name in ("val", "a", "b", "c", "d", "testA")})) == 6


def test_dvc_prints_all_of_them_within_a_screens_width(run, capsys):
    show_metrics({"workspace": {"data": shown_of(run, REPORT)}}, precision=5, round_digits=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(shown_of(run, REPORT)) and any("dvin-transvg.json" in line for line in lines)
    assert max(map(len, lines)) <= SCREEN["columns"]


def test_the_difference_of_a_retrained_teacher_fits_a_screen(run, capsys):
    """All that learns from its labels changes with it."""
    other = {split: part | {"acc50": 0.5, "miou": 0.5} for split, part in REPORT.items()}
    new = {path: file for path, file in shown_of(run, other).items() if "/dvin" in path}
    old = {path: file for path, file in shown_of(run, REPORT).items() if path in new}
    show_diff(diff(old, new), "Metric", round_digits=True)
    lines = capsys.readouterr().out.splitlines()
    assert 20 < len(lines) <= SCREEN["lines"]
    assert max(map(len, lines)) <= SCREEN["columns"]
