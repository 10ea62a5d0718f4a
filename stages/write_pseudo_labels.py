"""Let a trained teacher answer every pair: one box, score and margin each. No truth is read.

reads   pairs.parquet, images.parquet, feature stores, the teacher; params: labels
writes  boxes.parquet (one row per pair) and candidates.parquet (kept cells of every image)
run     dvc repro write_pseudo_labels@scenes-dvin
"""

from pathlib import Path

import pandas as pd
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.anchors import best_boxes, gather_cells, keep_confident_cells
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.progress import track
from deixis.core.records import read_json, read_table, write_table
from deixis.core.runtime import Device, autocast, pick_device
from deixis.features import FeatureStore, chunks
from deixis.imaging.letterbox import Letterbox
from deixis.samples import PAIR_COLUMNS, PairReader
from models.build_teacher import load_teacher


@dataclass(frozen=True, config=STRICT)
class LabelParams:
    """When a label is good enough to learn from; never decided by looking at truth."""

    min_margin: float = 0.0  # best minus second-best match score
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
    hardware = pick_device(device)
    model = load_teacher(teacher, hardware)
    table = read_table(pairs, columns=PAIR_COLUMNS, made_by="prepare")
    sizes = read_table(images, columns=("image_id", "width", "height"), made_by="prepare").set_index("image_id")
    side = read_json(features / "detector" / "meta.json", made_by="extract_features")["input_size"]
    letterboxes = {image_id: Letterbox(int(w), int(h), side) for image_id, w, h in sizes.itertuples()}
    reader = PairReader(
        table,
        features=features,
        expert_names=model.expert_names,
        vocabulary=model.text_encoder.vocabulary,
        length=model.config.text.length,
        device=hardware,
    )
    rows = []
    batches = list(chunks(range(len(table)), rules.batch_size))
    for numbers in track(batches, "labelling", total=len(batches)):
        with autocast(hardware):
            labels = model.label(reader.batch(numbers))
        rows += _rows(labels, table.iloc[list(numbers)], letterboxes, model.expert_names)
    labelled = pd.DataFrame(rows)
    labelled["reason"] = [_refusal(row, rules) for row in labelled.itertuples()]
    labelled["accept"] = labelled["reason"] == ""
    write_table(labelled, out / "boxes.parquet")
    write_table(_candidates(features, letterboxes, model.config.keep_fraction), out / "candidates.parquet")


def _rows(
    labels: object, pairs: pd.DataFrame, letterboxes: dict[int, Letterbox], experts: tuple[str, ...]
) -> list[dict]:
    columns = {
        name: getattr(labels, name).float().cpu()
        for name in ("boxes_xyxy", "runner_up_xyxy", "scores", "margins", "objectness", "experts")
    }
    rows = []
    for index, pair in enumerate(pairs.itertuples()):
        letterbox = letterboxes[pair.image_id]
        rows.append(
            {
                "sample_id": pair.sample_id,
                "image_id": pair.image_id,
                "expression": pair.expression,
                "split": pair.split,
                "box": letterbox.boxes_to_image(columns["boxes_xyxy"][index]).tolist(),
                "runner_up": letterbox.boxes_to_image(columns["runner_up_xyxy"][index]).tolist(),
                "score": float(columns["scores"][index]),
                "margin": float(columns["margins"][index]),
                "objectness": float(columns["objectness"][index]),
                "experts": [experts[choice] for choice in columns["experts"][index].int().tolist()],
            }
        )
    return rows


def _refusal(row: tuple, rules: LabelParams) -> str:
    """Why a label is not to be learned from; empty when it is."""
    left, top, right, bottom = row.box  # type: ignore[attr-defined]
    if row.margin < rules.min_margin:  # type: ignore[attr-defined]
        return "margin"
    if min(right - left, bottom - top) < rules.min_side:
        return "size"
    return ""


def _candidates(features: Path, letterboxes: dict[int, Letterbox], keep_fraction: float) -> pd.DataFrame:
    """Best box and objectness of each kept cell of each image, most confident cell first."""
    store = FeatureStore(features / "detector")
    rows = []
    for ids in chunks(sorted(letterboxes), 256):
        boxes = store.read("boxes", ids)
        kept = keep_confident_cells(boxes, keep_fraction)
        cells = gather_cells(boxes, kept)
        confidence: Tensor = cells[..., 4].mean(-1)
        order = confidence.argsort(dim=1, descending=True, stable=True)
        corners, _ = best_boxes(cells)
        corners = torch.gather(corners, 1, order[..., None].expand(-1, -1, 4))
        for image_id, found in zip(ids, corners, strict=True):
            rows.append((image_id, letterboxes[image_id].boxes_to_image(found).flatten().tolist()))
    return pd.DataFrame(rows, columns=["image_id", "boxes"])


if __name__ == "__main__":
    run_stage(write_pseudo_labels)
