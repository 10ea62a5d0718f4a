"""Let a trained teacher answer every pair again, of the picture at another size. No truth is read.

A label that survives is one that did not hang on the grid of cells. Detector, experts and teacher run live, because
the stored features are of the usual size. Words of place count as in write_pseudo_labels, their weight chosen anew.

reads   pairs.parquet, images.parquet, the images, frozen models, the teacher, its labels.parquet; params: labels,
        ratings.zoom
writes  one row per pair: the label's box, and the one of the other size (box_again), both in stored pixels
run     dvc repro label_again@scenes_plus-dvin-refclip, with dvin under run.rated in params.yaml
"""

from pathlib import Path

from answering.live_store import LiveStore, detector_arrays, expert_arrays
from deixis.batches.samples import grouped_pairs
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_table, write_table
from deixis.core.runtime import Device, pick_device
from deixis.imaging.images import ImageReader
from deixis.labelling.location_knowledge import with_place_words
from deixis.labelling.matching import Matcher
from deixis.labelling.rating import RatingParams
from models.loading.encoders import load_detector, load_expert
from models.loading.teachers import load_teacher
from stages.write_pseudo_labels import LabelParams, choose_labels


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
    """Let a trained teacher answer every pair again, of the picture at another size."""
    rules = read_section(params, "labels", LabelParams)
    zoom = read_section(params, "ratings", RatingParams).zoom
    hardware = pick_device(device)
    model = load_teacher(teacher, hardware)
    detector = load_detector(weights / "detector", hardware)
    stored = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    pictures = ImageReader(stored, root=image_root, side=detector.config.input_size, zoom=zoom, cache_bytes=0)
    arrays = {name: expert_arrays(load_expert(name, weights / name, hardware)) for name in model.expert_names}
    arrays["detector"] = detector_arrays(detector, model.box_scales)
    stores = {name: LiveStore(found, pictures, hardware) for name, found in arrays.items()}
    table = grouped_pairs(pairs)
    letterboxes = {image_id: pictures.letterbox(image_id) for image_id in stored["image_id"]}
    matcher = Matcher(model, stores, letterboxes, rules.batch_size, hardware)
    matched = matcher.weigh(table)
    scores = matched.scores if rules.place_words == "off" else with_place_words(matched, table, matcher).scores
    again = choose_labels(matched, scores, table, rules)[["sample_id", "box"]].rename(columns={"box": "box_again"})
    first = read_table(labels, columns=("sample_id", "box"), made_by="segment_boxes")
    write_table(first.merge(again, on="sample_id", validate="one_to_one"), out)


if __name__ == "__main__":
    run_stage(label_again)
