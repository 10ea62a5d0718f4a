"""Train one variant of a student once per seed on a teacher variant's labels, and score its answers to val.

reads   pairs.parquet, images.parquet, the images, the teacher variant's labels, backbone, segmenter;
        then truth.parquet; params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the scores of val (`0.parquet`)
run     dvc repro claims/dvc.yaml:measure_student@simrec
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from claims.entries import Plan, Student, params_of, score_file
from claims.runs import SPLIT, score, write_pairs, write_params
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.runtime import Device
from stages.predict_student import predict_student
from stages.train_student import train_student


def measure_student(
    *,
    variant: str,
    labels: Path,
    prepared: Path,
    image_root: Path,
    backbone: Path,
    segmenter: Path,
    candidates: Path,
    leakage: Path,
    out: Path,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one variant of a student once per seed, and score it."""
    entry = read_section(claims, f"students.{variant}", Student)
    shared = read_section(plan, "measure", Plan)
    images = prepared / "images.parquet"
    for seed in shared.seeds:
        with TemporaryDirectory() as name:
            folder = Path(name)
            student, answers = folder / "student", folder / "answers.parquet"
            settings = write_params(params_of(params, shared, entry.overrides, seed=seed), folder / "params.yaml")
            train_student(
                student=entry.method,
                labels=labels / f"labels-{seed}.parquet",
                pairs=write_pairs(prepared, folder, splits=("train",)),
                images=images,
                image_root=image_root,
                backbone=backbone,
                out=student,
                curves=folder / "curves.csv",
                params=settings,
                device=device,
            )
            predict_student(
                student=student,
                pairs=write_pairs(prepared, folder, splits=(SPLIT,)),
                images=images,
                image_root=image_root,
                segmenter=segmenter,
                out=answers,
                device=device,
            )
            score(
                answers,
                student / "config.json",
                prepared=prepared,
                candidates=candidates,
                leakage=leakage,
                params=settings,
                folder=folder / "scoring",
                out=out / score_file(seed),
            )


if __name__ == "__main__":
    run_stage(measure_student)
