"""Time teachers against each other, phrase by phrase in turns, so that a busy machine slows all of them alike.

reads   the trained variants that a claim about speed names, pairs.parquet, images.parquet, the images, all weights;
        params: claims.yaml, claims/params.yaml
writes  per variant and seed: phrases per second at batch 1 from stored image to box, one row per expression
run     dvc repro claims/dvc.yaml:time_teachers
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from claims.entries import Plan, model_folder, read_claims, score_file
from claims.inputs import SPLIT
from claims.verdict import SPEED
from deixis.batches.samples import PAIR_COLUMNS
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_table, write_table
from deixis.core.runtime import Device, autocast, pick_device
from stages.measure_speed import Stopwatch, teacher_pass


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
    shared = read_section(plan, "measure", Plan)
    timed = [claim for claim in read_claims(claims) if claim.metric == SPEED]
    variants = list(dict.fromkeys(side for claim in timed for side in (claim.baseline, claim.variant)))
    table = read_table(prepared / "pairs.parquet", columns=PAIR_COLUMNS, made_by="prepare")
    table = table[table["split"] == SPLIT]
    table = table.iloc[np.linspace(0, len(table) - 1, min(shared.timed_phrases, len(table))).astype(int)]
    table = table.reset_index(drop=True)
    images = read_table(prepared / "images.parquet", columns=("image_id", "path", "width", "height"), made_by="prepare")
    hardware = pick_device(device)
    for seed in shared.seeds:
        passes = {
            variant: teacher_pass(runs / variant / model_folder(seed), weights, table, images, image_root, hardware)
            for variant in variants
        }
        rates: dict[str, list[float]] = {variant: [] for variant in variants}
        with torch.inference_mode(), autocast(hardware):
            for row in (0, *range(len(table))):  # the first one also warms up
                for variant, answer in passes.items():
                    watch = Stopwatch(hardware)
                    watch.start()
                    answer(row, watch)
                    rates[variant].append(1000 / sum(sum(laps) for laps in watch.laps.values()))
        for variant, found in rates.items():
            scores = pd.DataFrame(
                {"sample_id": table["sample_id"], "image_id": table["image_id"], "per_second": found[1:]}
            )
            write_table(scores, out / variant / score_file(seed))


if __name__ == "__main__":
    run_stage(time_teachers)
