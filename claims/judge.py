"""Hold every claim against what was measured.

reads   the scores and times of all variants; params: claims.yaml, claims/params.yaml
writes  claims.md for people, claims.json for programs
run     dvc repro claims/dvc.yaml
"""

from collections import Counter
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from claims.entries import Claim, Plan, read_claims, score_file
from claims.verdict import SPEED, compare, decide, values
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.records import write_atomically, write_json

UNMEASURED = "not measured"
NOT_RUN = "to be run: dvc repro claims/dvc.yaml"
PREFACE = """# What the papers claim, and what was measured here

Each row is one comparison from an ablation table. Measured are val of the embedded scenes and trainings with the
seeds {seeds}; the world and its frozen models are those of the main run. Differences are variant minus baseline, in
percent points or, where the claim is about speed, in phrases per second (the mean of each phrase's own rate), with a
95 % interval that takes both the images and the seeds for a few of many (`claims/verdict.py`). A claim *holds* if the
whole interval lies on the paper's side, and *does not hold here* if the whole interval lies on the other; everything
else is *not decidable here*. Where a paper claims no harm or no difference, the row has a margin, and the sides meet
there. Of twenty verdicts one may be chance. A row that does not hold here says nothing about RefCOCO. DViN mixes two
experts per image here, where the paper's takes one, and TRIS has no calibration, unless a row is about that.

Beside `params.yaml`, for every variant: {cuts}.
"""


def judge(
    *,
    scores: Path,
    times: Path,
    out: Path,
    partial: bool = False,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
) -> None:
    """Hold every claim against what was measured.

    Args:
        partial: List claims whose variants were not run as not measured, instead of ending with an error.
    """
    shared = read_section(plan, "measure", Plan)
    rows = []
    for claim in read_claims(claims):
        measured = times if claim.metric == SPEED else scores
        if partial and not claim.missing and not was_run(claim, measured):
            claim = replace(claim, metric="", baseline="", variant="", missing=NOT_RUN)
        rows.append(hold(claim, measured, shared))
    write_json({"plan": asdict(shared), "claims": rows}, out / "claims.json")
    page = write_page(rows, shared)
    write_atomically(out / "claims.md", lambda temporary: temporary.write_text(page, encoding="utf-8"))


def was_run(claim: Claim, measured: Path) -> bool:
    """Whether there is anything of both sides."""
    return all((measured / side.partition("/")[0]).exists() for side in (claim.baseline, claim.variant))


def hold(claim: Claim, measured: Path, plan: Plan) -> dict[str, Any]:
    """One claim with its difference and verdict; without them where nothing was measured."""
    row: dict[str, Any] = asdict(claim) | {"verdict": UNMEASURED}
    if claim.missing:
        return row
    sides = [
        read_side(measured, side, metric, plan)
        for side, metric in ((claim.baseline, claim.baseline_metric or claim.metric), (claim.variant, claim.metric))
    ]
    difference = compare(*sides)
    measures = {name: round(value, 6) for name, value in difference._asdict().items()}
    return row | {"verdict": decide(claim, difference), "measured": measures}


def read_side(measured: Path, side: str, metric: str, plan: Plan) -> dict[int, pd.Series]:
    """Seed -> one metric of every expression.

    Raises:
        DataError: If the variant was not measured.
    """
    variant, _, reading = side.partition("/")
    by_seed = {}
    for seed in plan.seeds:
        path = measured / variant / score_file(seed, reading)
        if not path.exists():
            raise DataError(f"{path}: missing: {side} was not measured. Run: dvc repro claims/dvc.yaml")
        by_seed[seed] = values(pd.read_parquet(path), metric)
    return by_seed


def write_page(rows: list[dict[str, Any]], plan: Plan) -> str:
    """The report: how to read it, a count, and a table per paper."""
    counts = Counter(row["verdict"] for row in rows)
    cuts = "; ".join(f"`{key}: {value}`" for key, value in plan.overrides.items()) or "none"
    seeds = ", ".join(map(str, plan.seeds))
    lines = [
        PREFACE.format(seeds=seeds, cuts=cuts),
        "| verdict | claims |",
        "| --- | --- |",
        *(f"| {verdict} | {count} |" for verdict, count in counts.most_common()),
    ]
    for paper, group in groupby(rows, key=lambda row: row["paper"]):
        lines += [
            "",
            f"## {paper}",
            "",
            "| claim | the paper says | its numbers | measured here | difference | verdict |",
            "| --- | --- | --- | --- | --- | --- |",
            *map(write_row, group),
        ]
    return "\n".join(lines) + "\n"


def write_row(row: dict[str, Any]) -> str:
    """One line of a table."""
    statement = row["statement"] + (f" ({row['note']})" if row["note"] else "")
    if row["verdict"] == UNMEASURED:
        cells = [f"needs {row['missing']}", "", UNMEASURED]
    else:
        measured = row["measured"]
        metrics = " → ".join(dict.fromkeys(filter(None, (row["baseline_metric"], row["metric"]))))
        unit = 1 if row["metric"] == SPEED else 100  # percent
        shown = {name: unit * value for name, value in measured.items()}
        sides = f"`{row['baseline']}` {shown['baseline']:.1f} → `{row['variant']}` {shown['variant']:.1f}"
        margin = f", margin {unit * row['margin']:.1f}" if row["margin"] else ""
        cells = [
            f"{metrics}: {sides}",
            f"{shown['estimate']:+.1f} [{shown['low']:+.1f}, {shown['high']:+.1f}]{margin}",
            f"*{row['verdict']}*",
        ]
    return "| " + " | ".join([f"{row['id']}, {row['table']}", statement, row["numbers"], *cells]) + " |"


if __name__ == "__main__":
    run_stage(judge)
