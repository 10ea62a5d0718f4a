"""Prompt the segmenter with the TRUE boxes of the evaluation splits: how good masks could be.

reads   pairs.parquet, truth.parquet, images.parquet, the images, the segmenter; params: seed, evaluation
writes  the segmenter's mIoU and oIoU per split, and the headlines among them
run     dvc repro evaluate_segmenter@scenes_plus
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deixis.core.cli import run_stage
from deixis.core.errors import DataError
from deixis.core.records import read_json, read_table, write_json
from deixis.core.runtime import Device, pick_device
from deixis.imaging.masks import mask_overlap
from deixis.labelling.segmenting import segment_table
from deixis.measuring.headlines import headlines
from models.frozen.segmenters import load_segmenter


def evaluate_segmenter(
    *,
    segmenter: Path,
    pairs: Path,
    truth: Path,
    images: Path,
    image_root: Path,
    out: Path,
    headlines_out: Path,
    device: Device = "auto",
) -> None:
    """Prompt the segmenter with true boxes, once per object."""
    objects = true_objects(pairs, truth)
    image_table = read_table(images, columns=("image_id", "path"), made_by="prepare")
    paths = {image_id: image_root / path for image_id, path in image_table.itertuples(index=False)}
    masks, _ = segment_table(load_segmenter(segmenter, pick_device(device)), objects, paths=paths)
    overlaps = [mask_overlap(predicted, true) for predicted, true in zip(masks, objects["mask"], strict=True)]
    objects = objects.assign(intersection=[o[0] for o in overlaps], union=[o[1] for o in overlaps])
    report: dict[str, Any] = {
        split: {
            "n": len(group),
            "miou": round(float(np.mean(group["intersection"] / group["union"])), 6),
            "oiou": round(float(group["intersection"].sum() / group["union"].sum()), 6),
        }
        for split, group in objects.groupby("split")
    }
    card = read_json(segmenter / "config.json", made_by="pretrain_segmenter")
    report["meta"] = {
        "prompt": "true boxes",
        "num_parameters": card["num_parameters"],
        "checkpoint_sha256": card["sha256"],
    }
    write_json(report, out)
    write_json(headlines(report), headlines_out)


def true_objects(pairs: Path, truth: Path) -> pd.DataFrame:
    """Objects of the evaluation splits with box and mask, each once.

    Raises:
        DataError: If the dataset has no true masks.
    """
    table = read_table(pairs, columns=("sample_id", "image_id", "ref_id", "split"), made_by="prepare")
    known = read_table(truth, columns=("sample_id", "box", "mask"), made_by="prepare")
    objects = table[table["split"] != "train"].merge(known, on="sample_id")
    repeated = objects["ref_id"].notna() & objects.duplicated("ref_id")  # without it each phrase has its own object
    objects = objects[~repeated & objects["mask"].notna()].reset_index(drop=True)
    if objects.empty:
        raise DataError(
            f"{truth}: has no mask to compare the segmenter with. Allowed: a dataset with true masks. "
            "Take this one out of run.reference_datasets in params.yaml, then run: dvc repro"
        )
    return objects


if __name__ == "__main__":
    run_stage(evaluate_segmenter)
