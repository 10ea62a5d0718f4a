"""The detector's surest boxes of every image: what answers are compared with, and what ranking students choose from.

reads   images.parquet, the detector's feature store; params: candidates
writes  detections.parquet: of each image the best box of each kept cell, most confident first, and its category
run     dvc repro list_candidates@scenes
"""

from pathlib import Path

import pandas as pd
import torch

from deixis.anchors import best_boxes, gather_cells, keep_confident_cells
from deixis.batches.candidates import CandidateParams
from deixis.batches.features import ArrayStore, FeatureStore, chunks
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_json, read_table, write_table
from deixis.imaging.letterbox import Letterbox

IMAGES_PER_READ = 256


def list_candidates(*, images: Path, features: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    """List the detector's surest boxes of every image."""
    config = read_section(params, "candidates", CandidateParams)
    sizes = read_table(images, columns=("image_id", "width", "height"), made_by="prepare")
    side = read_json(features / "meta.json", made_by="extract_features")["input_size"]
    write_table(surest_boxes(FeatureStore(features), sizes, side=side, keep_fraction=config.keep_fraction), out)


def surest_boxes(store: ArrayStore, sizes: pd.DataFrame, *, side: int, keep_fraction: float) -> pd.DataFrame:
    """Of each image the best box of each kept cell, in stored pixels, most confident first, and its category."""
    rows = []
    for part in chunks(sizes.sort_values("image_id")[["image_id", "width", "height"]].values.tolist(), IMAGES_PER_READ):
        boxes = store.read("boxes", [image_id for image_id, _, _ in part])
        cells = gather_cells(boxes, keep_confident_cells(boxes, keep_fraction))
        order = cells[..., 4].mean(-1).argsort(dim=1, descending=True, stable=True)
        best = best_boxes(cells)
        corners = torch.gather(best.corners, 1, order[..., None].expand(-1, -1, 4))
        categories = best.classes.argmax(-1).gather(1, order)
        for (image_id, width, height), found, kinds in zip(part, corners, categories, strict=True):
            stored = Letterbox(width, height, side).boxes_to_image(found)
            rows.append((image_id, stored.flatten().tolist(), kinds.tolist()))
    return pd.DataFrame(rows, columns=["image_id", "boxes", "categories"])


if __name__ == "__main__":
    run_stage(list_candidates)
