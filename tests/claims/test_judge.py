"""From score files to the report: a verdict, a reading, what is missing, and what was not run."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from claims.judge import judge
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import read_json, write_json, write_table

PLAN = """measure:
  splits: [val, testA]
  run: default
  seeds: {default: {refclip: 3, tris: 2}}
  overrides: {teachers.refclip.recipe.epochs: 1}
judging: {tie: 0.01, timed_phrases: 4, nulls: 50}
"""
CLAIMS = """teachers: {full: {method: refclip}}
map_teachers: {plain: {method: tris, readings: {prms: {map_labels.select: all}}}}
students: {}
claims:
  - {id: up, paper: Paper, table: table 1, numbers: "40.0 → 52.0", statement: More is better., metric: acc50,
     baseline: plain, variant: full}
  - {id: read, paper: Paper, table: table 2, numbers: "1 → 2", statement: Sharing helps., metric: miou_map,
     baseline: plain, variant: plain/prms, direction: not_lower, margin: 0.02, note: of val}
  - {id: switch, paper: Other, table: table 3, numbers: "3 → 4", statement: One way is worse., missing: a direction}
  - {id: fast, paper: Other, table: table 4, numbers: "5.0 → 9.0", statement: Less is faster., metric: per_second,
     baseline: plain, variant: full}
"""


def write_scores(path: Path, *, hits: float) -> None:
    rows = np.arange(90)
    iou = np.where(rows % 10 < 10 * hits, 0.9, 0.1)
    table = pd.DataFrame({"sample_id": rows.astype(str), "image_id": rows // 3, "iou": iou, "mask_iou_map": 0.5})
    write_table(table, path)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    for seed in (0, 1):
        write_scores(tmp_path / "plain" / f"{seed}.parquet", hits=0.3)
        write_scores(tmp_path / "plain" / f"{seed}-prms.parquet", hits=0.3)
        write_scores(tmp_path / "full" / f"{seed}.parquet", hits=0.8)
        for name, rate in (("plain", 20.0), ("full", 30.0)):
            times = pd.DataFrame({"sample_id": ["a", "b"], "image_id": [1, 2], "per_second": [rate, rate + 4]})
            write_table(times, tmp_path / "times" / name / f"{seed}.parquet")
    return tmp_path


def run(folder: Path, *, partial: bool = False) -> tuple[dict, str]:
    judge(
        scores=folder,
        times=folder / "times",
        out=folder / "out",
        partial=partial,
        replicas=folder / "replicas",
        claims=folder / "claims.yaml",
        plan=folder / "plan.yaml",
        params=folder / "params.yaml",
    )
    return read_json(folder / "out" / "claims.json", made_by="judge"), (folder / "out" / "claims.md").read_text()


def test_every_claim_is_a_row_and_what_was_measured_has_an_interval(measured):
    judged, page = run(measured)
    rows = {row["id"]: row for row in judged["claims"]}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "up": "holds", "read": "holds", "switch": "not measured", "fast": "holds",
    }  # fmt: skip
    up = rows["up"]["measured"]
    assert up["baseline"] == pytest.approx(0.3) and up["variant"] == pytest.approx(0.8)
    assert up["estimate"] == pytest.approx(0.5)
    assert up["low"] < 0.5 < up["high"]
    assert "measured" not in rows["switch"]
    lines = [line for line in page.splitlines() if line.startswith(("| up,", "| read,", "| switch,", "| fast,"))]
    assert "40.0 → 52.0" in lines[0] and "`plain` 30.0 → `full` 80.0" in lines[0] and "+50.0 [" in lines[0]
    assert "margin 2.0" in lines[1] and "(of val)" in lines[1]
    assert "needs a direction" in lines[2] and "not measured" in lines[2]
    assert "`plain` 22.0 → `full` 32.0" in lines[3] and "+10.0 [+10.0, +10.0]" in lines[3]
    assert "`teachers.refclip.recipe.epochs: 1`" in page
    assert rows["up"]["seeds"] == 2 and 0 <= rows["up"]["by_chance"] < 0.2  # those that both sides have
    assert "(2 seeds)" in lines[0] and "val, testA" in page and "Decided here: 3. No other world was measured" in page
    assert lines[0].endswith("| none measured |")


def test_other_worlds_stand_beside_the_main_one(measured):
    judged, _ = run(measured)
    judged["world"] = 1
    judged["claims"][1]["verdict"] = "does not hold here"
    write_json(judged, measured / "replicas" / "world_1.json")
    again, page = run(measured)
    rows = {row["id"]: row for row in again["claims"]}
    assert rows["up"]["worlds"]["1"]["verdict"] == "holds"
    assert rows["switch"]["worlds"] == {"1": None}
    assert "Decided here: 3. World 1 agrees in 2." in page
    assert "1: +50.0 [" in next(line for line in page.splitlines() if line.startswith("| up,"))


def test_a_claim_about_no_variant_is_refused_by_name(measured):
    (measured / "claims.yaml").write_text(CLAIMS.replace("variant: plain/prms", "variant: plane/prms"))
    with pytest.raises(ConfigError, match=r"read compares plane, which is no variant; there are full, plain"):
        run(measured)


def test_the_same_scores_give_the_same_bytes(measured):
    assert run(measured) == run(measured)


def test_a_variant_that_was_not_run_is_named(measured):
    (measured / "full" / "1.parquet").unlink()
    with pytest.raises(DataError, match=r"full was not measured\. Run: dvc repro claims/dvc\.yaml"):
        run(measured)


def test_a_method_that_the_run_leaves_out_is_not_measured(measured):
    (measured / "plan.yaml").write_text(PLAN.replace("refclip: 3", "refclip: 0"))
    judged, page = run(measured)
    verdicts = {row["id"]: row["verdict"] for row in judged["claims"]}
    assert verdicts == {"up": "not measured", "read": "holds", "switch": "not measured", "fast": "not measured"}
    assert "needs `measure.run: long` in claims/params.yaml" in page and "of `refclip`" not in page


def test_a_partial_page_says_what_was_not_run(measured):
    shutil.rmtree(measured / "full")
    rows = {row["id"]: row for row in run(measured, partial=True)[0]["claims"]}
    assert rows["up"]["verdict"] == "not measured" and "to be run" in rows["up"]["missing"]
    assert rows["read"]["verdict"] == "holds" and rows["fast"]["verdict"] == "holds"
