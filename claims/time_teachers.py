"""Time teachers against each other, phrase by phrase in turns, so that a busy machine slows all of them alike.

reads   the trained variants that a claim about speed names, pairs.parquet, images.parquet, the images, all weights;
        params: claims.yaml, claims/params.yaml
writes  per variant and seed: phrases per second at batch 1 from stored image to box, one row per expression
run     dvc repro claims/dvc.yaml:time_teachers
"""

from pathlib import Path

import torch

from claims.entries import Judging, Plan, model_folder, read_claims, read_variants, score_file
from claims.verdict import SPEED
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import write_table
from deixis.core.runtime import Device, autocast, pick_device
from stages.measure_speed import Pass, Stopwatch, teacher_pass, timed_phrases


def time_teachers(
    *,
    runs: Path,
    prepared: Path,
    image_root: Path,
    weights: Path,
    out: Path,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    device: Device = "auto",
) -> None:
    """Time all teachers that a claim about speed names."""
    shared, judging = read_section(plan, "measure", Plan), read_section(plan, "judging", Judging)
    out.mkdir(parents=True, exist_ok=True)
    timed = [claim for claim in read_claims(claims) if claim.metric == SPEED]
    method_of = {name: entry.method for name, entry in read_variants(claims).items()}
    named = dict.fromkeys(side for claim in timed for side in (claim.baseline, claim.variant))
    variants = [name for name in named if shared.seeds_of(method_of[name])]
    table, images = timed_phrases(prepared, judging.timed_phrases)
    hardware = pick_device(device)
    for seed in max((shared.seeds_of(method_of[name]) for name in variants), key=len, default=range(0)):
        passes = {
            variant: teacher_pass(runs / variant / model_folder(seed), weights, table, images, image_root, hardware)
            for variant in variants
            if seed in shared.seeds_of(method_of[variant])
        }
        for variant, rates in time_in_turns(passes, len(table), hardware).items():
            scores = table[["sample_id", "image_id"]].assign(per_second=rates)
            write_table(scores, out / variant / score_file(seed))


def time_in_turns(passes: dict[str, Pass], phrases: int, device: torch.device) -> dict[str, list[float]]:
    """Phrases per second of every variant, phrase by phrase; the first one, which warms up, is timed anew."""
    rates: dict[str, list[float]] = {variant: [] for variant in passes}
    with torch.inference_mode(), autocast(device):
        for row in (0, *range(phrases)):
            for variant, answer in passes.items():
                watch = Stopwatch(device)
                watch.start()
                answer(row, watch)
                rates[variant].append(1000 / sum(sum(laps) for laps in watch.laps.values()))
    return {variant: measured[1:] for variant, measured in rates.items()}


if __name__ == "__main__":
    run_stage(time_teachers)
