"""Hold every claim against what was measured.

reads   the scores and times of all variants, and what the same claims gave in other worlds (`claims/replicas`);
        params: claims.yaml, claims/params.yaml, params.yaml
writes  claims.md for people, claims.json for programs
run     dvc repro claims/dvc.yaml
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from claims.entries import Claim, Judging, Plan, read_claims, read_variants, score_file
from claims.verdict import SPEED, UNDECIDED, compare, decide, null_rate, pair, values
from deixis.core.cli import run_stage
from deixis.core.config import load_params, read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import read_json, write_atomically, write_json

UNMEASURED = "not measured"
NOT_RUN = "to be run: dvc repro claims/dvc.yaml"
LEFT_OUT = "`measure.run: long` in claims/params.yaml"
PREFACE = """# What the papers claim, and what was measured here

Each row is one comparison from an ablation table. Measured are {splits} of the embedded scenes, pooled; the world and
its frozen models are those of the main run with `seed: {world}`. Trainings per variant: {seeds}; two variants are
compared over the seeds that both have. Differences are variant minus baseline, in percent points or, where the claim is
about speed, in phrases per second (the mean of each phrase's own rate), with a 97 % interval that takes both the images
and the seeds for a few of many (`claims/verdict.py`).

A claim *holds* if the whole interval lies on the paper's side, and *does not hold here* if the whole interval lies on
the other. If it lies astride, but within {tie:g} percent point of zero, there is *no difference here*.
Everything else is *not decidable here*. Where a paper claims no harm or no difference, the row has a margin, and the
sides meet there. Margins were fixed before the run. By chance: how many of {nulls} simulated draws with the row's own
images, seeds and variances, but no difference, would get a verdict. A row that does not hold here says nothing about
RefCOCO. DViN mixes two experts per image here, where the paper's takes one, and TRIS has no calibration, unless a row
is about that.

Beside `params.yaml`, for every variant: {cuts}.
"""
HEADER = """
## {paper}

| claim | the paper says | its numbers | measured here | difference | verdict | by chance | other worlds |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def judge(
    *,
    scores: Path,
    times: Path,
    out: Path,
    partial: bool = False,
    replicas: Path = Path("claims/replicas"),
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
) -> None:
    """Hold every claim against what was measured.

    Args:
        partial: List claims whose variants were not run as not measured, instead of ending with an error.
        replicas: Folder with the claims.json of other worlds.
    """
    shared, judging = read_section(plan, "measure", Plan), read_section(plan, "judging", Judging)
    methods = {name: variant.method for name, variant in read_variants(claims).items()}
    elsewhere = read_replicas(replicas)
    rows = []
    for claim in read_claims(claims):
        measured = times if claim.metric == SPEED else scores
        if not claim.missing and not common_seeds(claim, shared, methods):
            claim = replace(claim, metric="", baseline="", variant="", missing=LEFT_OUT)
        if partial and not claim.missing and not was_run(claim, measured):
            claim = replace(claim, metric="", baseline="", variant="", missing=NOT_RUN)
        row = hold(claim, measured, shared, methods, judging)
        rows.append(row | {"worlds": {str(world): found.get(claim.id) for world, found in elsewhere.items()}})
    world = load_params(params)["seed"]
    about = {"world": world, "plan": asdict(shared), "judging": asdict(judging)}
    write_json(about | {"claims": rows}, out / "claims.json")
    page = write_page(rows, shared, judging, world)
    write_atomically(out / "claims.md", lambda temporary: temporary.write_text(page, encoding="utf-8"))


def read_replicas(folder: Path) -> dict[int, dict[str, dict[str, Any]]]:
    """World -> claim -> its verdict and difference there."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        judged = read_json(path, made_by="judge")
        rows = {row["id"]: row for row in judged["claims"] if row["verdict"] != UNMEASURED}
        found[judged["world"]] = {name: {"verdict": row["verdict"], **row["measured"]} for name, row in rows.items()}
    return found


def was_run(claim: Claim, measured: Path) -> bool:
    """Whether there is anything of both sides."""
    return all((measured / side.partition("/")[0]).exists() for side in (claim.baseline, claim.variant))


def hold(claim: Claim, measured: Path, plan: Plan, methods: Mapping[str, str], judging: Judging) -> dict[str, Any]:
    """One claim with its difference and verdict; without them where nothing was measured."""
    row: dict[str, Any] = asdict(claim) | {"verdict": UNMEASURED}
    if claim.missing:
        return row
    seeds = common_seeds(claim, plan, methods)
    sides = [
        read_side(measured, side, metric, seeds)
        for side, metric in ((claim.baseline, claim.baseline_metric or claim.metric), (claim.variant, claim.metric))
    ]
    difference = compare(*sides)
    measures = {name: round(value, 6) for name, value in difference._asdict().items()}
    verdict = decide(claim, difference, 0.0 if claim.metric == SPEED else judging.tie)
    chance = null_rate(pair(*sides)[0], judging.nulls)
    return row | {"verdict": verdict, "measured": measures, "seeds": len(seeds), "by_chance": chance}


def common_seeds(claim: Claim, plan: Plan, methods: Mapping[str, str]) -> range:
    """Seeds that both sides were trained with.

    Raises:
        ConfigError: If a side is no variant.
    """
    names = [side.partition("/")[0] for side in (claim.baseline, claim.variant)]
    if unknown := sorted(set(names) - set(methods)):
        raise ConfigError(
            f"claims/claims.yaml: {claim.id} compares {', '.join(unknown)}, which is no variant; there are "
            f"{', '.join(sorted(methods))}. Fix it, then run: dvc repro claims/dvc.yaml"
        )
    return min((plan.seeds_of(methods[name]) for name in names), key=len)


def read_side(measured: Path, side: str, metric: str, seeds: Iterable[int]) -> dict[int, pd.Series]:
    """Seed -> one metric of every expression.

    Raises:
        DataError: If the variant was not measured.
    """
    variant, _, reading = side.partition("/")
    by_seed = {}
    for seed in seeds:
        path = measured / variant / score_file(seed, reading)
        if not path.exists():
            raise DataError(f"{path}: missing: {side} was not measured. Run: dvc repro claims/dvc.yaml")
        by_seed[seed] = values(pd.read_parquet(path), metric)
    return by_seed


def write_page(rows: list[dict[str, Any]], plan: Plan, judging: Judging, world: int) -> str:
    """The report: how to read it, a count, and a table per paper."""
    counts = Counter(row["verdict"] for row in rows)
    lines = [
        PREFACE.format(
            splits=", ".join(plan.splits),
            world=world,
            seeds=", ".join(f"{count} of `{method}`" for method, count in plan.seeds[plan.run].items() if count),
            tie=100 * judging.tie,
            nulls=judging.nulls,
            cuts="; ".join(f"`{key}: {value}`" for key, value in plan.overrides.items()) or "none",
        ),
        "| verdict | claims |",
        "| --- | --- |",
        *(f"| {verdict} | {count} |" for verdict, count in counts.most_common()),
        *count_replicated(rows),
    ]
    for paper, group in groupby(rows, key=lambda row: row["paper"]):
        lines += [HEADER.format(paper=paper), *map(write_row, group)]
    return "\n".join(lines) + "\n"


def count_replicated(rows: list[dict[str, Any]]) -> list[str]:
    """Per other world, how many of the claims that are decided here have the same verdict there."""
    decided = [row for row in rows if row["verdict"] not in (UNMEASURED, UNDECIDED)]
    worlds = sorted({world for row in rows for world in row["worlds"]})
    same = {
        world: sum((row["worlds"][world] or {}).get("verdict") == row["verdict"] for row in decided) for world in worlds
    }
    elsewhere = "".join(f" World {w} agrees in {n}." for w, n in same.items())
    return [f"\nDecided here: {len(decided)}." + (elsewhere or " No other world was measured (`claims/replicas`).")]


def write_row(row: dict[str, Any]) -> str:
    """One line of a table."""
    statement = row["statement"] + (f" ({row['note']})" if row["note"] else "")
    if row["verdict"] == UNMEASURED:
        cells = [f"needs {row['missing']}", "", UNMEASURED, "", ""]
    else:
        measured = row["measured"]
        metrics = " → ".join(dict.fromkeys(filter(None, (row["baseline_metric"], row["metric"]))))
        unit = 1 if row["metric"] == SPEED else 100  # percent
        margin = f", margin {unit * row['margin']:.1f}" if row["margin"] else ""
        cells = [
            f"{metrics}: `{row['baseline']}` {unit * measured['baseline']:.1f} → `{row['variant']}` "
            f"{unit * measured['variant']:.1f}",
            f"{write_difference(measured, unit)}{margin} ({row['seeds']} seeds)",
            f"*{row['verdict']}*",
            f"{row['by_chance']:.1%}",
            "; ".join(
                f"{world}: {write_difference(there, unit)} *{there['verdict']}*" if there else f"{world}: {UNMEASURED}"
                for world, there in row["worlds"].items()
            )
            or "none measured",
        ]
    return "| " + " | ".join([f"{row['id']}, {row['table']}", statement, row["numbers"], *cells]) + " |"


def write_difference(measured: Mapping[str, float], unit: int) -> str:
    """Difference and interval."""
    return f"{unit * measured['estimate']:+.1f} [{unit * measured['low']:+.1f}, {unit * measured['high']:+.1f}]"


if __name__ == "__main__":
    run_stage(judge)
