"""Score every variant's answers; the only stage here that reads truth, and it trains nothing.

reads   the answers of all variants, prepared tables with truth.parquet, candidates, leakage.json;
        params: claims.yaml, claims/params.yaml, params.yaml
writes  per variant, seed and reading: one row per expression
run     dvc repro claims/dvc.yaml:score
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from claims.entries import (
    MapTeacher,
    Plan,
    Variant,
    answers_file,
    model_folder,
    params_of,
    read_variants,
    score_file,
)
from claims.inputs import write_pairs, write_params
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.progress import track
from deixis.core.records import write_table
from stages.evaluate import evaluate

# Columns of a score file; the last five where masks were predicted
KEPT = (
    "sample_id", "image_id", "iou", "intersection", "union", "point_in_mask", "mask_iou_prompted", "mask_iou_map",
)  # fmt: skip


def score(
    *,
    runs: Path,
    prepared: Path,
    candidates: Path,
    leakage: Path,
    out: Path,
    partial: bool = False,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
) -> None:
    """Score every variant's answers.

    Args:
        partial: Leave out variants that have not answered for every seed, instead of ending with an error.
    """
    shared = read_section(plan, "measure", Plan)
    variants = read_variants(claims)
    if partial:
        variants = {name: entry for name, entry in variants.items() if has_answered(runs / name, entry, shared)}
    todo = [
        (variant, seed, reading)
        for variant, entry in variants.items()
        for seed in shared.seeds_of(entry.method)
        for reading in readings(entry)
    ]
    with TemporaryDirectory() as name:
        folder = Path(name)
        asked = write_pairs(prepared / "pairs.parquet", folder, splits=shared.splits).parent
        for table in ("truth", "images"):
            (asked / f"{table}.parquet").symlink_to((prepared / f"{table}.parquet").resolve())
        known = {"candidates": candidates, "prepared": asked, "leakage": leakage}
        for variant, seed, reading in track(todo, "scoring", total=len(todo)):
            samples = score_run(
                runs / variant,
                answers_file(seed, reading),
                seed,
                params=write_params(params_of(params, shared, seed=seed), folder / "params.yaml"),
                folder=folder,
                **known,
            )
            write_table(samples, out / variant / score_file(seed, reading))


def score_run(variant: Path, answers: str, seed: int, *, folder: Path, params: Path, **known: Path) -> pd.DataFrame:
    """Scores of one file of answers, row by row, and of them what claims are decided on.

    Args:
        folder: For what `evaluate` writes.
        known: The other files that `evaluate` reads.
    """
    evaluate(
        predictions=variant / answers,
        card=variant / model_folder(seed) / "config.json",
        out=folder / "metrics.json",
        samples_out=folder / "samples.parquet",
        params=params,
        **known,
    )
    samples = pd.read_parquet(folder / "samples.parquet")
    return samples[[column for column in KEPT if column in samples]]


def readings(entry: Variant) -> tuple[str, ...]:
    """In which ways the answers of a variant are read; the ordinary one has no name."""
    return ("", *(entry.readings if isinstance(entry, MapTeacher) else ()))


def has_answered(folder: Path, entry: Variant, plan: Plan) -> bool:
    """Whether a variant has answered for every seed, read in every way."""
    files = [answers_file(seed, reading) for seed in plan.seeds_of(entry.method) for reading in readings(entry)]
    return all((folder / file).exists() for file in files)


if __name__ == "__main__":
    run_stage(score)
