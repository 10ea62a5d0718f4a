"""Train one student on the TRUE boxes and masks: the upper bound, outside the rule that training never sees truth.

reads   truth.parquet, pairs.parquet, images.parquet, the images, pretrained parts,
        objects.parquet for students that rank boxes; params: training_seed, students.<student>
writes  model.safetensors, config.json; the curve of every loss term
run     dvc repro train_upper_bound@scenes_plus-simrec, with simrec under run.upper_bounds in params.yaml
"""

from pathlib import Path

from deixis.batches.samples import PAIR_COLUMNS
from deixis.core.cli import run_stage
from deixis.core.records import read_table
from deixis.core.runtime import Device
from training.files import TrainingOptions
from training.students import fit_student


def train_upper_bound(
    *,
    student: str,
    truth: Path,
    pairs: Path,
    files: TrainingOptions,
    candidates: Path | None = None,
    device: Device = "auto",
) -> None:
    """Train one student on the true boxes and masks of the training split."""
    table = read_table(pairs, columns=PAIR_COLUMNS, optional=("ref_id",), made_by="prepare")
    boxes = read_table(truth, columns=("sample_id", "box", "mask"), made_by="prepare")
    fit_student(
        student,
        table[table["split"] == "train"].merge(boxes, on="sample_id"),
        files,
        device=device,
        candidates=candidates,
        candidates_from="annotations",
        supervision="truth",
    )


if __name__ == "__main__":
    run_stage(train_upper_bound)
