"""Let a trained teacher answer every pair: one box, score and margin each. No truth is read.

reads   pairs.parquet, images.parquet, feature stores, the teacher; params: labels
writes  boxes.parquet (one row per pair) and labelling.json; location_kinds.parquet: what phrases with location words
        name beside their place, so that later phrases are read as these were
run     dvc repro write_pseudo_labels@scenes-dvin
"""

from dataclasses import asdict
from pathlib import Path

from deixis.batches.features import open_stores, stored_frames
from deixis.batches.samples import grouped_pairs, refuse_ungrouped
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_table, write_json, write_table
from deixis.core.runtime import Device, pick_device
from deixis.labelling.location_knowledge import write_kinds
from deixis.labelling.matching import Matcher
from deixis.labelling.rules import LabelParams, label_pairs
from deixis.roles import stored_experts
from models.loading.teachers import load_teacher


def write_pseudo_labels(
    *,
    pairs: Path,
    images: Path,
    features: Path,
    teacher: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Let a trained teacher answer every pair."""
    rules = read_section(params, "labels", LabelParams)
    table = grouped_pairs(pairs)
    if rules.same_image == "distinct":
        refuse_ungrouped(table, found_in=pairs, setting="labels.same_image", without="free")
    hardware = pick_device(device)
    model = load_teacher(teacher, hardware)
    sizes = read_table(images, columns=("image_id", "width", "height"), made_by="prepare")
    letterboxes = stored_frames(features / "detector", sizes)
    matcher = Matcher(
        model, open_stores(features, ("detector", *stored_experts(model))), letterboxes, rules.batch_size, hardware
    )
    labelled = label_pairs(matcher, table, rules)
    write_table(labelled.table, out / "boxes.parquet")
    write_kinds(labelled.kinds, out / "location_kinds.parquet")
    refused = labelled.table["reason"].value_counts().drop("", errors="ignore").to_dict()
    facts = {"rules": asdict(rules), "pairs": len(table), "refused": refused, "location_words": labelled.location_facts}
    write_json(facts, out / "labelling.json")


if __name__ == "__main__":
    run_stage(write_pseudo_labels)
