"""Let a trained teacher answer every pair: one box, score and margin each. No truth is read.

reads   pairs.parquet, images.parquet, feature stores, the teacher; params: labels
writes  boxes.parquet (one row per pair) and labelling.json; place_kinds.parquet: what phrases with words of place name
        beside their place, so that later phrases are read as these were
run     dvc repro write_pseudo_labels@scenes-dvin
"""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.batches.features import open_stores
from deixis.batches.samples import grouped_pairs, refuse_ungrouped
from deixis.boxes import paired_iou
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.records import read_json, read_table, write_json, write_table
from deixis.core.runtime import Device, pick_device
from deixis.imaging.letterbox import Letterbox
from deixis.labelling.distinct_objects import choose_distinct
from deixis.labelling.location_knowledge import with_place_words, write_kinds
from deixis.labelling.location_scores import SAME_OBJECT
from deixis.labelling.matching import Matched, Matcher
from models.loading.teachers import load_teacher


@dataclass(frozen=True, config=STRICT)
class LabelParams:
    """What decides beside the match, and when a label is good enough to learn from; never by looking at truth."""

    # score: place words weigh in; filter: labels that they contradict are refused; off: they are words like others
    place_words: Literal["score", "filter", "off"] = "score"
    # distinct: phrases about different objects of an image get different ones; which phrases are about one object is
    # then supervision beyond pairs, and the labels say so. Needs a ref_id for every phrase
    same_image: Literal["free", "distinct"] = "free"
    coverage: float = 1.0  # of the training labels, those with the largest margins
    min_margin: float | None = None  # of the label's score over the second-best; none: whatever it is
    min_side: float = 0.0  # pixels of the stored image
    batch_size: int = 128


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
    sizes = read_table(images, columns=("image_id", "width", "height"), made_by="prepare").set_index("image_id")
    side = read_json(features / "detector" / "meta.json", made_by="extract_features")["input_size"]
    letterboxes = {image_id: Letterbox(int(w), int(h), side) for image_id, w, h in sizes.itertuples()}
    matcher = Matcher(
        model, open_stores(features, ("detector", *model.expert_names)), letterboxes, rules.batch_size, hardware
    )
    matched = matcher.weigh(table)
    scores, place_facts, kinds = matched.scores, {}, {}
    if rules.place_words != "off":
        placed = with_place_words(matched, table, matcher)
        scores, place_facts, kinds = placed.scores, placed.facts, placed.kinds
    labelled = choose_labels(matched, scores, table, rules)
    write_table(labelled, out / "boxes.parquet")
    write_kinds(kinds, out / "place_kinds.parquet")
    refused = labelled["reason"].value_counts().drop("", errors="ignore").to_dict()
    facts = {"rules": asdict(rules), "pairs": len(labelled), "refused": refused, "place_words": place_facts}
    write_json(facts, out / "labelling.json")


def choose_labels(matched: Matched, scores: Tensor, table: pd.DataFrame, rules: LabelParams) -> pd.DataFrame:
    """One label per pair: the best candidate that the rules leave to it."""
    row = torch.arange(len(table))
    by_match = matched.scores.argmax(1)
    contradicted = paired_iou(matched.boxes[row, by_match], matched.boxes[row, scores.argmax(1)]) < SAME_OBJECT
    decisive = matched.scores if rules.place_words == "filter" else scores
    best = decisive.argmax(1)
    if rules.same_image == "distinct":
        best = choose_distinct(decisive, matched.boxes, table["image_id"].tolist(), table["group"].tolist())
    others = decisive.scatter(1, best[:, None], -torch.inf)
    runner_up = others.argmax(1)
    labelled = table[["sample_id", "image_id", "expression", "split"]].assign(
        box=matched.boxes[row, best].tolist(),
        runner_up=matched.boxes[row, runner_up].tolist(),
        match_box=matched.boxes[row, by_match].tolist(),
        score=decisive[row, best].numpy(),
        # below 0 where another object of the image needed what is best
        margin=(decisive[row, best] - others[row, runner_up]).numpy(),
        objectness=matched.objectness[row, best].numpy(),
        experts=matched.experts,
    )
    corners = matched.boxes[row, best]
    thin = (corners[:, 2:] - corners[:, :2]).amin(1) < rules.min_side
    if matched.masks is not None:  # the teacher drew what matches best; where another object was chosen, nothing
        moved = paired_iou(matched.boxes[row, by_match], corners) < SAME_OBJECT
        own = pd.Series(matched.masks, index=labelled.index, dtype=object)
        labelled["own_mask"] = own.where(~moved.numpy(), None)
    if rules.same_image == "distinct":
        labelled["supervision"] = "image-phrase pairs, grouped by object"
    labelled["reason"] = ""
    labelled.loc[thin.numpy(), "reason"] = "size"
    if rules.min_margin is not None:
        labelled.loc[labelled["margin"] < rules.min_margin, "reason"] = "margin"
    sureness = labelled.loc[labelled["split"] == "train", "margin"].rank(pct=True, method="first")
    labelled.loc[sureness.index[sureness <= 1 - rules.coverage], "reason"] = "coverage"
    if rules.place_words == "filter":
        labelled.loc[contradicted.numpy(), "reason"] = "place"
    return labelled.assign(accept=labelled["reason"] == "")


if __name__ == "__main__":
    run_stage(write_pseudo_labels)
