"""Train one variant of a student once per seed on a teacher variant's labels, and let it answer; no truth.

reads   pairs.parquet, images.parquet, the images, the teacher variant's labels, pretrained parts, segmenter;
        params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the student, and its answers (`answers-0.parquet`)
run     dvc repro claims/dvc.yaml:run_student@simrec
"""

from pathlib import Path

from claims.entries import Student
from claims.runs import RunOptions, each_seed
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.runtime import Device
from stages.predict_student import predict_student
from stages.train_student import train_student


def run_student(
    *, variant: str, labels: Path, files: RunOptions, weights: Path, segmenter: Path, device: Device = "auto"
) -> None:
    """Train one variant of a student once per seed, and let it answer."""
    entry = read_section(files.claims, f"students.{variant}", Student)
    for run in each_seed(files, entry):
        train_student(
            student=entry.method,
            labels=labels / f"labels-{run.seed}.parquet",
            pairs=run.pairs("train"),
            files=run.training(weights),
            device=device,
        )
        predict_student(
            student=run.model,
            pairs=run.pairs(*run.plan.splits),
            images=files.images,
            image_root=files.image_root,
            segmenter=segmenter,
            out=run.answers(),
            device=device,
        )


if __name__ == "__main__":
    run_stage(run_student)
