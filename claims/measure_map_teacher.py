"""Train one variant of a teacher of response maps once per seed, read its maps of val, and score what was read.

reads   pairs.parquet, images.parquet, the images, frozen weights, cues and proposals; then truth.parquet;
        params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the scores of val (`0.parquet`), and of each further reading (`0-prms.parquet`)
run     dvc repro claims/dvc.yaml:measure_map_teacher@tris
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from claims.entries import MapTeacher, Plan, params_of, score_file
from claims.runs import SPLIT, score, write_pairs, write_params
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.runtime import Device
from stages.train_map_teacher import train_map_teacher
from stages.write_map_labels import write_map_labels


def measure_map_teacher(
    *,
    variant: str,
    prepared: Path,
    image_root: Path,
    weights: Path,
    cues: Path,
    proposals: Path,
    candidates: Path,
    leakage: Path,
    out: Path,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one variant of a teacher of response maps once per seed, and score it."""
    entry = read_section(claims, f"map_teachers.{variant}", MapTeacher)
    shared = read_section(plan, "measure", Plan)
    images = prepared / "images.parquet"
    for seed in shared.seeds:
        with TemporaryDirectory() as name:
            folder = Path(name)
            teacher = folder / "teacher"
            train_map_teacher(
                teacher=entry.method,
                pairs=write_pairs(prepared, folder, splits=("train",)),
                images=images,
                image_root=image_root,
                weights=weights,
                out=teacher,
                curves=folder / "curves.csv",
                cues=cues,
                proposals=proposals,
                params=write_params(params_of(params, shared, entry.overrides, seed=seed), folder / "params.yaml"),
                device=device,
            )
            asked = write_pairs(prepared, folder, splits=(SPLIT,))
            for reading, changes in ({"": {}} | entry.readings).items():
                settings = params_of(params, shared, entry.overrides, changes, seed=seed)
                path = write_params(settings, folder / f"params-{reading}.yaml")
                write_map_labels(
                    pairs=asked,
                    images=images,
                    image_root=image_root,
                    weights=weights,
                    teacher=teacher,
                    out=folder / f"labels-{reading}.parquet",
                    cues=cues,
                    params=path,
                    device=device,
                )
                score(
                    folder / f"labels-{reading}.parquet",
                    teacher / "config.json",
                    prepared=prepared,
                    candidates=candidates,
                    leakage=leakage,
                    params=path,
                    folder=folder / f"scoring-{reading}",
                    out=out / score_file(seed, reading),
                )


if __name__ == "__main__":
    run_stage(measure_map_teacher)
