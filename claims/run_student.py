"""Train one variant of a student once per seed on a teacher variant's labels, and let it answer val; no truth.

reads   pairs.parquet, images.parquet, the images, the teacher variant's labels, pretrained parts, segmenter;
        params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the student, and its answers to val (`answers-0.parquet`)
run     dvc repro claims/dvc.yaml:run_student@simrec
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from claims.entries import Plan, Student, answers_file, model_folder, params_of
from claims.inputs import SPLIT, write_pairs, write_params
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.runtime import Device
from stages.predict_student import predict_student
from stages.train_student import train_student


def run_student(
    *,
    variant: str,
    labels: Path,
    pairs: Path,
    images: Path,
    image_root: Path,
    weights: Path,
    segmenter: Path,
    out: Path,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one variant of a student once per seed, and let it answer."""
    entry = read_section(claims, f"students.{variant}", Student)
    shared = read_section(plan, "measure", Plan)
    for seed in shared.seeds:
        with TemporaryDirectory() as name:
            folder = Path(name)
            student = out / model_folder(seed)
            train_student(
                student=entry.method,
                labels=labels / f"labels-{seed}.parquet",
                pairs=write_pairs(pairs, folder, splits=("train",)),
                images=images,
                image_root=image_root,
                weights=weights,
                out=student,
                curves=folder / "curves.csv",
                params=write_params(params_of(params, shared, entry.overrides, seed=seed), folder / "params.yaml"),
                device=device,
            )
            predict_student(
                student=student,
                pairs=write_pairs(pairs, folder, splits=(SPLIT,)),
                images=images,
                image_root=image_root,
                segmenter=segmenter,
                out=out / answers_file(seed),
                device=device,
            )


if __name__ == "__main__":
    run_stage(run_student)
