"""Small sound annotations in every form, and their adapters."""

import json
import os
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.fuzz.kinds import Found, Kind
from deixis.core.registry import resolve
from deixis.datasets import DATASETS

ROWS = 6
PHRASE = "the ball number {}"


def annotations() -> Iterable[Kind]:
    """Every form in which phrases about images come."""
    for name, make, damaged, rows in (
        ("jsonl", _write_jsonl, "pairs.jsonl", "lines"),
        ("json", _write_json, "pairs.json", "list"),
        ("csv", _write_csv, "pairs.csv", None),
        ("coco", _write_coco, "coco.json", "annotations"),
        ("parquet", _write_parquet, "pairs.parquet", None),
        ("hf", _write_hf, "*.*", None),
        ("sidecars", _write_sidecars, "images/*.txt", None),
    ):
        yield Kind(f"annotations: {name}", make, damaged, _ingest("pairs", boxes="none"), rows)
    yield Kind("annotations: instances", _write_refer, "instances.json", _ingest("refer"))
    yield Kind("annotations: refs", _write_refer, "refs(unc).p", _ingest("refer"), "list")
    yield Kind("annotations: mdetr", _write_mdetr, "*.json", _ingest("mdetr"))
    yield Kind("annotations: simrec", _write_simrec, "anns/*.json", _ingest("simrec"), "train")
    yield Kind("annotations: jxu124", _write_jxu124, "data/*.parquet", _ingest("jxu124"))


def _ingest(name: str, **settings: Any) -> Callable[[Path], Found]:
    def read(folder: Path) -> Found:
        adapter = resolve(DATASETS, name, role="dataset adapter")
        config = adapter.Config(adapter=name, max_quarantined=1.0, **settings)
        adapter(config).ingest(raw=folder, out=folder / "out", dataset="own")
        return set(pd.read_parquet(folder / "out/pairs.parquet")["expression"])

    return read


def _rows(folder: Path) -> list[dict[str, Any]]:
    (folder / "images").mkdir(exist_ok=True)
    for number in range(ROWS):
        Image.new("RGB", (8, 6), (number, 90, 40)).save(folder / f"images/{number}.png")
    return [{"image": f"{number}.png", "text": PHRASE.format(number)} for number in range(ROWS)]


def _write_jsonl(folder: Path) -> None:
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows(folder)))


def _write_json(folder: Path) -> None:
    (folder / "pairs.json").write_text(json.dumps(_rows(folder)))


def _write_csv(folder: Path) -> None:
    lines = ["image,text", *(f'{row["image"]},"{row["text"]}"' for row in _rows(folder))]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")


def _write_parquet(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(_rows(folder)), folder / "pairs.parquet")


def _write_hf(folder: Path) -> None:
    table = pa.Table.from_pylist(_rows(folder))
    with pa.OSFile(str(folder / "data-0.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0.arrow"}]}))


def _write_sidecars(folder: Path) -> None:
    for row in _rows(folder):
        (folder / "images" / row["image"]).with_suffix(".txt").write_text(row["text"] + "\n")


def _instances() -> dict[str, Any]:
    rectangle = {"bbox": [1, 1, 4, 3], "area": 12, "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]], "iscrowd": 0}
    sizes = {"width": 8, "height": 6, "license": 1}
    return {
        "info": {},
        "licenses": [{"id": 1, "name": "CC0"}],
        "categories": [{"id": 1, "name": "ball"}],
        "images": [{"id": n, "file_name": f"{n}.png"} | sizes for n in range(ROWS)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1} | rectangle for n in range(ROWS)],
    }


def _refs() -> list[dict[str, Any]]:
    return [
        {
            "ref_id": n, "ann_id": n, "image_id": n, "category_id": 1, "split": "train",
            "file_name": f"{n}.png", "sent_ids": [n],
            "sentences": [{"sent_id": n, "raw": PHRASE.format(n), "sent": PHRASE.format(n), "tokens": []}],
        }
        for n in range(ROWS)
    ]  # fmt: skip


def _write_coco(folder: Path) -> None:
    _rows(folder)
    content = _instances()
    for number, annotation in enumerate(content["annotations"]):
        annotation["caption"] = PHRASE.format(number)
    (folder / "coco.json").write_text(json.dumps(content))


def _write_refer(folder: Path) -> None:
    _rows(folder)
    (folder / "instances.json").write_text(json.dumps(_instances()))
    (folder / "refs(unc).p").write_bytes(pickle.dumps(_refs(), 2))


def _write_mdetr(folder: Path) -> None:
    _rows(folder)
    content = _instances()
    for number, (image, annotation) in enumerate(zip(content["images"], content["annotations"], strict=True)):
        image |= {"original_id": number, "caption": PHRASE.format(number), "tokens_negative": [[0, 3]]}
        annotation |= {"original_id": number, "tokens_positive": [[0, 3]]}
    for split in ("train", "val"):
        part = slice(1, None) if split == "train" else slice(1)
        rows = {name: content[name][part] for name in ("images", "annotations")}
        (folder / f"finetune_refcoco_{split}.json").write_text(json.dumps(content | rows))


def _write_simrec(folder: Path) -> None:
    _rows(folder)
    rows = [
        {"iid": n, "bbox": [1, 1, 4, 3], "cat_id": 3, "mask_id": n, "refs": [PHRASE.format(n)]} for n in range(ROWS)
    ]
    for number in range(ROWS):
        os.replace(folder / f"images/{number}.png", folder / f"images/COCO_train2014_{number:012d}.jpg")
    (folder / "anns").mkdir()
    (folder / "anns/refcoco.json").write_text(json.dumps({"train": rows, "val": []}))


def _write_jxu124(folder: Path) -> None:
    _rows(folder)
    content = _instances()
    rows = [
        ref
        | {
            "raw_anns": json.dumps(annotation),
            "raw_image_info": json.dumps(image),
            "raw_sentences": json.dumps(ref["sentences"]),
            "image_path": f"coco/train2014/{image['file_name']}",
            "bbox": [1.0, 1.0, 5.0, 4.0],
        }
        for ref, annotation, image in zip(_refs(), content["annotations"], content["images"], strict=True)
    ]
    (folder / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "data/train-00000-of-00001-0123456789abcdef.parquet")
