"""Train one variant of a teacher of response maps once per seed, and read its maps; no truth.

reads   pairs.parquet, images.parquet, the images, frozen weights, the judge, cues and proposals;
        params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the teacher, its answers (`answers-0.parquet`), and those of each further reading
        (`answers-0-prms.parquet`)
run     dvc repro claims/dvc.yaml:run_map_teacher@tris
"""

from pathlib import Path
from typing import Any

from claims.entries import MapTeacher
from claims.inputs import link_folders
from claims.runs import RunOptions, SeedRun, each_seed
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.runtime import Device
from stages.train_map_teacher import train_map_teacher
from stages.write_map_labels import write_map_labels


def run_map_teacher(
    *, variant: str, files: RunOptions, weights: Path, judge: Path, cues: Path, proposals: Path, device: Device = "auto"
) -> None:
    """Train one variant of a teacher of response maps once per seed, and let it answer."""
    entry = read_section(files.claims, f"map_teachers.{variant}", MapTeacher)
    for run in each_seed(files, entry):
        frozen = link_folders(weights, run.folder / "weights", judge=judge)
        train_map_teacher(
            teacher=entry.method,
            pairs=run.pairs("train"),
            files=run.training(frozen),
            cues=cues,
            proposals=proposals,
            device=device,
        )
        answer(run, entry.readings, weights=frozen, cues=cues, device=device)


def answer(run: SeedRun, readings: dict[str, dict[str, Any]], *, weights: Path, cues: Path, device: Device) -> None:
    """Write the answers, in the ordinary way and in every further one."""
    for reading, changes in ({"": {}} | readings).items():
        write_map_labels(
            pairs=run.pairs(*run.plan.splits),
            images=run.files.images,
            image_root=run.files.image_root,
            weights=weights,
            teacher=run.model,
            out=run.answers(reading),
            cues=cues,
            params=run.params(reading, changes),
            device=device,
        )


if __name__ == "__main__":
    run_stage(run_map_teacher)
