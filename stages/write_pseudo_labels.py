"""Let a trained teacher answer every pair: one box, score and margin each. No truth is read.

reads   pairs.parquet, images.parquet, feature stores, the teacher; params: labels
writes  boxes.parquet (one row per pair) and labelling.json; location_kinds.parquet: what phrases with location words
        name beside their place, so that later phrases are read as these were
run     dvc repro write_pseudo_labels@scenes-dvin
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd

from deixis.batches.features import FeatureStore, open_stores, stored_frames
from deixis.batches.samples import PAIR_COLUMNS, refuse_ungrouped, with_groups
from deixis.core.checkpoints import run_key
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.long_tables import are_together, count_rows, join_tables, parts_of_images
from deixis.core.records import read_table, write_json
from deixis.core.runtime import Device, pick_device
from deixis.labelling.labelled_parts import count_reasons, label_in_parts
from deixis.labelling.location_knowledge import write_kinds
from deixis.labelling.matching import Matcher
from deixis.labelling.rules import LabelParams
from deixis.roles import stored_experts
from models.loading.teachers import load_teacher

PAIRS_PER_PART = 8192  # the most that a killed run asks again; their candidates are in memory together


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
    whole = refuse_parted(pairs) if rules.same_image == "distinct" else False
    hardware = pick_device(device)
    model = load_teacher(teacher, hardware)
    names = ("detector", *stored_experts(model))
    sizes = read_table(images, columns=("image_id", "width", "height"), made_by="prepare")
    frames = stored_frames(features / "detector", sizes)
    stores = open_stores(features, names)
    matcher = Matcher(model, stores, frames, rules.batch_size, hardware)
    metas = [features / name / "meta.json" for name in names]
    files = (pairs, images, *metas, teacher / "config.json")
    code = ("stages.write_pseudo_labels", type(model).__module__)
    key = run_key(rules, PAIRS_PER_PART, hardware.type, *files, entries=code, threads=False)
    scratch = Path("scratch/write_pseudo_labels") / key
    rows = count_rows(pairs, made_by="prepare") if whole else PAIRS_PER_PART
    parts = partial(read_parts, pairs, list(stores.values()), rows=rows)
    labelled = label_in_parts(matcher, parts, rules, scratch)
    join_tables(labelled.paths, out / "boxes.parquet")
    write_kinds(labelled.kinds, out / "location_kinds.parquet")
    facts = {"rules": asdict(rules), "pairs": count_rows(out / "boxes.parquet", made_by="write_pseudo_labels")}
    facts |= {"refused": count_reasons(labelled.paths), "location_words": labelled.facts}
    write_json(facts, out / "labelling.json")
    shutil.rmtree(scratch, ignore_errors=True)


def read_parts(pairs: Path, stores: Sequence[FeatureStore], *, rows: int) -> Iterator[pd.DataFrame]:
    """The pairs in parts of whole images, as far as these follow each other, with the column `group`.

    After each, the stores are let go of what was read for it.
    """
    for part in parts_of_images(pairs, (*PAIR_COLUMNS, "ref_id"), rows=rows, made_by="prepare"):
        yield with_groups(part)
        for store in stores:
            store.release()


def refuse_parted(pairs: Path) -> bool:
    """Stop where phrases about different objects are to be parted, and some may be about one unsaid.

    Whether all pairs must be labelled at once, because those about one image lie here and there.
    """
    refuse_ungrouped(
        read_table(pairs, columns=("ref_id",), made_by="prepare"),
        found_in=pairs, setting="labels.same_image", without="free",
    )  # fmt: skip
    return not are_together(pairs, made_by="prepare")


if __name__ == "__main__":
    run_stage(write_pseudo_labels)
