"""Train one student on a teacher's labels. No truth is read.

reads   labels.parquet, pairs.parquet, images.parquet, the images, pretrained parts,
        candidates.parquet or objects.parquet for students that rank boxes; params: training_seed, students.<student>
writes  model.safetensors, config.json; the curve of every loss term
run     dvc repro train_student@scenes-dvin-simrec
"""

from pathlib import Path

import pandas as pd

from deixis.batches.candidates import CandidateSource
from deixis.batches.samples import PAIR_COLUMNS
from deixis.core.cli import run_stage
from deixis.core.errors import DataError
from deixis.core.records import read_table
from deixis.core.runtime import Device
from deixis.labelling.human_decisions import COLUMN, with_decisions
from training.files import TrainingOptions
from training.students import fit_student

LABEL_COLUMNS = ("sample_id", "box", "mask", "accept", "teacher")
MASK_COLUMNS = ("mask_source", "point")


def train_student(
    *,
    student: str,
    labels: Path,
    pairs: Path,
    files: TrainingOptions,
    candidates: Path | None = None,
    candidates_from: CandidateSource = "detections",
    device: Device = "auto",
) -> None:
    """Train one student on a teacher's accepted labels of the training split."""
    train, counted = accepted_labels(labels, pairs)
    fit_student(
        student,
        train,
        files,
        device=device,
        candidates=candidates,
        candidates_from=candidates_from,
        supervision=with_decisions(str(train["teacher"].iloc[0]), counted.get("human_decisions", 0)),
        counted=counted,
    )


def accepted_labels(labels: Path, pairs: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """Training pairs with their accepted labels, and for the card how many have none, and how many people decided.

    Raises:
        DataError: If no label is accepted.
    """
    table = read_table(pairs, columns=PAIR_COLUMNS, optional=("ref_id",), made_by="prepare")
    answers = read_table(labels, columns=LABEL_COLUMNS, optional=(*MASK_COLUMNS, COLUMN), made_by="segment_boxes")
    answers = answers.assign(prompted=prompted_by_box(answers))
    train_pairs = table[table["split"] == "train"]
    labelled = train_pairs.merge(answers, on="sample_id")
    train = labelled[labelled["accept"]].reset_index(drop=True)
    if train.empty:
        raise DataError(
            f"{labels}: no accepted label of a training pair. "
            "Raise labels.coverage or lower labels.min_margin in params.yaml, then run: dvc repro"
        )
    counted = {
        "labels_missing": len(train_pairs) - len(labelled),
        "labels_refused": len(labelled) - len(train),
        "human_decisions": int((labelled[COLUMN] != "").sum()) if COLUMN in labelled else 0,
    }
    return train.drop(columns=COLUMN, errors="ignore"), {name: count for name, count in counted.items() if count}


def prompted_by_box(labels: pd.DataFrame) -> pd.Series:
    """Whether the segmenter drew each mask for the label's box; for teachers of response maps it drew at a point."""
    if "mask_source" not in labels or "point" in labels:
        return pd.Series(False, index=labels.index)
    return labels["mask_source"] == "segmenter"


if __name__ == "__main__":
    run_stage(train_student)
