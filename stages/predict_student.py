"""Let a trained student answer the evaluation pairs. No truth is read.

Masks are the student's own where it draws some, else the segmenter's in its boxes; `mask_source` says whose.

reads   pairs.parquet, images.parquet, the images, the student, the segmenter; for students that rank boxes the table
        of boxes that they learned with
writes  predictions.parquet
run     dvc repro predict_student@scenes-dvin-simrec
"""

from pathlib import Path

from answering.predictions import answer_phrases, with_prompted_masks
from deixis.batches.samples import PAIR_COLUMNS
from deixis.core.cli import run_stage
from deixis.core.records import read_json, read_table, write_table
from deixis.core.runtime import Device, pick_device
from models.frozen.segmenters import load_segmenter
from models.loading.students import load_student, phrase_reader, read_candidates


def predict_student(
    *,
    student: Path,
    pairs: Path,
    images: Path,
    image_root: Path,
    segmenter: Path,
    out: Path,
    candidates: Path | None = None,
    device: Device = "auto",
) -> None:
    """Let a trained student answer the evaluation pairs."""
    hardware = pick_device(device)
    model = load_student(student, hardware)
    table = read_table(pairs, columns=PAIR_COLUMNS, made_by="prepare")
    table = table[table["split"] != "train"].reset_index(drop=True)
    image_table = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    card = read_json(student / "config.json", made_by="train_student")
    reader = phrase_reader(
        model,
        table,
        image_table,
        image_root=image_root,
        device=hardware,
        candidates=read_candidates(model, candidates, image_table, source=card.get("candidates", "detections")),
    )
    answers = answer_phrases(model, reader, table, hardware)
    if "mask" not in answers:
        paths = {
            number: image_root / path for number, path in image_table[["image_id", "path"]].itertuples(index=False)
        }
        answers = with_prompted_masks(answers, load_segmenter(segmenter, hardware), paths=paths)
    write_table(answers, out)


if __name__ == "__main__":
    run_stage(predict_student)
