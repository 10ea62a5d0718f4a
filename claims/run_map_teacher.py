"""Train one variant of a teacher of response maps once per seed, and read its maps of val; no truth.

reads   pairs.parquet, images.parquet, the images, frozen weights, cues and proposals;
        params: the variant's entry of claims.yaml, claims/params.yaml, params.yaml
writes  per seed: the teacher, its answers to val (`answers-0.parquet`), and those of each further reading
        (`answers-0-prms.parquet`)
run     dvc repro claims/dvc.yaml:run_map_teacher@tris
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from claims.entries import MapTeacher, Plan, answers_file, model_folder, params_of
from claims.inputs import SPLIT, write_pairs, write_params
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.runtime import Device
from stages.train_map_teacher import train_map_teacher
from stages.write_map_labels import write_map_labels


def run_map_teacher(
    *,
    variant: str,
    pairs: Path,
    images: Path,
    image_root: Path,
    weights: Path,
    cues: Path,
    proposals: Path,
    out: Path,
    claims: Path = Path("claims/claims.yaml"),
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one variant of a teacher of response maps once per seed, and let it answer."""
    entry = read_section(claims, f"map_teachers.{variant}", MapTeacher)
    shared = read_section(plan, "measure", Plan)
    for seed in shared.seeds:
        with TemporaryDirectory() as name:
            folder = Path(name)
            teacher = out / model_folder(seed)
            train_map_teacher(
                teacher=entry.method,
                pairs=write_pairs(pairs, folder, splits=("train",)),
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
            asked = write_pairs(pairs, folder, splits=(SPLIT,))
            for reading, changes in ({"": {}} | entry.readings).items():
                settings = params_of(params, shared, entry.overrides, changes, seed=seed)
                write_map_labels(
                    pairs=asked,
                    images=images,
                    image_root=image_root,
                    weights=weights,
                    teacher=teacher,
                    out=out / answers_file(seed, reading),
                    cues=cues,
                    params=write_params(settings, folder / f"params-{reading}.yaml"),
                    device=device,
                )


if __name__ == "__main__":
    run_stage(run_map_teacher)
