"""Let a trained teacher answer every pair again, of the image at another size. No truth is read.

A label that survives is one that did not hang on the grid of cells. Detector, experts and teacher run live, because
the stored features are of the usual size. Location words count as in write_pseudo_labels, their weight chosen anew.

reads   pairs.parquet, images.parquet, the images, frozen models, the teacher, its labels.parquet; params: labels,
        ratings.zoom
writes  one row per pair: the label's box, and the one of the other size (box_again), both in stored pixels
run     dvc repro label_again@scenes_plus-dvin-refclip, with dvin under run.rated in params.yaml
"""

from pathlib import Path

from answering.live_matcher import encoder_arrays, live_matcher, survivors_of
from deixis.batches.samples import grouped_pairs
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_json, read_table, write_table
from deixis.core.runtime import Device, pick_device
from deixis.imaging.images import ImageReader
from deixis.labelling.labelled_parts import label_pairs
from deixis.labelling.rating import RatingParams
from deixis.labelling.rules import LabelParams
from models.frozen.detectors import load_detector
from models.loading.teachers import load_teacher


def label_again(
    *,
    pairs: Path,
    images: Path,
    image_root: Path,
    weights: Path,
    teacher: Path,
    labels: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Let a trained teacher answer every pair again, of the image at another size."""
    rules = read_section(params, "labels", LabelParams)
    zoom = read_section(params, "ratings", RatingParams).zoom
    hardware = pick_device(device)
    model = load_teacher(teacher, hardware)
    detector = load_detector(weights / "detector", hardware)
    stored = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    reader = ImageReader(
        stored, root=image_root, side=detector.input_size, framing=detector.framing, zoom=zoom, cache_bytes=0
    )
    card = read_json(teacher / "config.json", made_by="train_teacher")
    arrays = encoder_arrays(model, detector, weights, hardware, survivors=survivors_of(card))
    matcher = live_matcher(model, arrays, reader, stored["image_id"], batch_size=rules.batch_size, device=hardware)
    again = label_pairs(matcher, grouped_pairs(pairs), rules)
    again = again[["sample_id", "box"]].rename(columns={"box": "box_again"})
    first = read_table(labels, columns=("sample_id", "box"), made_by="segment_boxes")
    write_table(first.merge(again, on="sample_id", validate="one_to_one"), out)


if __name__ == "__main__":
    run_stage(label_again)
