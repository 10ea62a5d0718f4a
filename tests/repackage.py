"""A published folder in the layouts in which others pass it on: SimREC's JSON, jxu124's Parquet, MDETR's COCO files."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deixis.datasets.refer import ReferConfig, read_source
from deixis.imaging.masks import decode_mask, polygons_to_rle


def read_folder(folder: Path, *, split_by: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The instances of a folder, and its refs with the text of Python 2 fixed."""
    source = read_source(folder, ReferConfig(adapter="refer", split_by=split_by))  # type: ignore[arg-type]
    return json.loads((folder / "instances.json").read_text()), [row.ref for row in source.refs]


def write_refs(folder: Path, refs: Any, *, split_by: str) -> None:
    """Other refs for a folder."""
    (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol=2))


def by_id(rows: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {row["id"]: row for row in rows}


def to_simrec(folder: Path, instances: dict[str, Any], refs: list[dict[str, Any]]) -> None:
    """`anns/refcoco.json` and `masks/refcoco/<ref_id>.npy`, whose parts are added up, not united."""
    (folder / "anns").mkdir(parents=True)
    (folder / "masks" / "refcoco").mkdir(parents=True)
    annotations, images = by_id(instances["annotations"]), by_id(instances["images"])
    splits: dict[str, list[dict[str, Any]]] = {}
    for ref in refs:
        annotation, image = annotations[ref["ann_id"]], images[ref["image_id"]]
        rle = polygons_to_rle(annotation["segmentation"], height=image["height"], width=image["width"])
        np.save(folder / "masks" / "refcoco" / f"{ref['ref_id']}.npy", 2 * decode_mask(rle).astype(np.uint8))
        row = {"iid": ref["image_id"], "bbox": annotation["bbox"], "cat_id": 3, "mask_id": ref["ref_id"]}
        texts = [sentence["sent"] for sentence in ref["sentences"]]
        groups = [texts] if ref["split"] == "train" else [[text] for text in texts]
        splits.setdefault(ref["split"], []).extend(row | {"refs": group} for group in groups)
    (folder / "anns" / "refcoco.json").write_text(json.dumps(splits))


def to_jxu124(folder: Path, instances: dict[str, Any], refs: list[dict[str, Any]]) -> None:
    """`data/<split>-00000-of-00001-<hash>.parquet`, one row per ref; val is called validation."""
    (folder / "data").mkdir(parents=True)
    annotations, images = by_id(instances["annotations"]), by_id(instances["images"])
    for split in {ref["split"] for ref in refs}:
        hosted = "validation" if split == "val" else split
        rows = [
            ref
            | {
                "split": hosted,
                "raw_anns": json.dumps(annotations[ref["ann_id"]]),
                "raw_image_info": json.dumps(images[ref["image_id"]]),
                "raw_sentences": json.dumps(ref["sentences"]),
                "image_path": f"coco/train2014/{images[ref['image_id']]['file_name']}",
                "bbox": [0.0, 0.0, 1.0, 1.0],
            }
            for ref in refs
            if ref["split"] == split
        ]
        pq.write_table(
            pa.Table.from_pylist(rows), folder / "data" / f"{hosted}-00000-of-00001-0123456789abcdef.parquet"
        )


def to_mdetr(folder: Path, instances: dict[str, Any], refs: list[dict[str, Any]]) -> None:
    """`finetune_refcoco_<split>.json`, one image row and one annotation per phrase, numbered through."""
    folder.mkdir(parents=True)
    annotations, images = by_id(instances["annotations"]), by_id(instances["images"])
    files: dict[str, dict[str, list[Any]]] = {}
    number = 0
    for ref in refs:
        annotation, image = annotations[ref["ann_id"]], images[ref["image_id"]]
        content = files.setdefault(ref["split"], {"images": [], "annotations": []})
        for sentence in ref["sentences"]:
            row = {name: image[name] for name in ("file_name", "height", "width")}
            content["images"].append(
                row
                | {"id": number, "original_id": image["id"], "caption": sentence["sent"], "dataset_name": "refcoco"}
                | {"tokens_negative": [[0, len(sentence["sent"])]]}
            )
            content["annotations"].append(
                {name: annotation[name] for name in ("area", "iscrowd", "category_id", "bbox")}
                | {"image_id": number, "id": number, "original_id": annotation["id"], "tokens_positive": [[0, 3]]}
            )
            number += 1
    head = {name: instances[name] for name in ("info", "licenses", "categories")}
    for split, rows in files.items():
        (folder / f"finetune_refcoco_{split}.json").write_text(json.dumps(head | rows))
