"""Sixty labels, fifty corrections of them, and the files that tools hand back after these."""

import json
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from commands.export import export
from reviewing.decisions import Box
from tests.deixis.exports.labelled import row

WIDTH, HEIGHT = 200, 100
IMAGES, LABELS_EACH = 20, 3
Correction = tuple[str, Box | None]  # verdict, and the box that is right


def make_tables(folder: Path) -> Path:
    """labels.parquet, and images.parquet where `deixis label` keeps it. Boxes of an image do not touch each other."""
    rows, drawn = [], random.Random(0)
    for image_id in range(IMAGES):
        for number in range(LABELS_EACH):
            left, top = 5.25 + 65 * number + drawn.random(), 10.123 + drawn.random()
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[12:30, 10 + 65 * number : 30 + 65 * number] = True
            rows.append(
                row(f"{image_id}/{number}", image_id, [left, top, left + 30, top + 25], None if number else mask)
                | {"runner_up": [left + 20, top + 45, left + 50, top + 70], "expression": f"thing {image_id} {number}"}
            )
    (folder / "prepared").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(folder / "labels.parquet", index=False)
    images = [{"image_id": i, "path": f"some/{i:03d}.jpg", "width": WIDTH, "height": HEIGHT} for i in range(IMAGES)]
    pd.DataFrame(images).to_parquet(folder / "prepared" / "images.parquet", index=False)
    return folder / "labels.parquet"


def corrections(labels: Path) -> dict[str, Correction]:
    """For every label: 20 moved, 15 removed, 15 that become the runner-up; the others stay."""
    table = pd.read_parquet(labels)
    kinds = ["box"] * 20 + ["reject"] * 15 + ["runner_up"] * 15 + ["accept"] * 10
    random.Random(1).shuffle(kinds)
    told: dict[str, Correction] = {}
    for kind, sample_id, box, runner_up in zip(
        kinds, table["sample_id"], table["box"], table["runner_up"], strict=True
    ):
        left, top, right, bottom = box
        right_ones = {"box": (left + 3.21, top - 2.04, right + 1, bottom), "reject": None, "accept": tuple(box)}
        told[sample_id] = kind, (right_ones | {"runner_up": tuple(runner_up)})[kind]
    return told


def exported(labels: Path, kind: str, out: Path) -> Path:
    export(labels, to=kind, images=labels.parent / "prepared/images.parquet", out=out)
    return out


def sizes(box: Box, *, digits: int = 2) -> list[float]:
    left, top, right, bottom = box
    return [round(side, digits) for side in (left, top, right - left, bottom - top)]


def shares(box: Box) -> list[float]:
    return [side / whole for side, whole in zip(sizes(box, digits=9), (WIDTH, HEIGHT) * 2, strict=True)]


def rewrite(path: Path, change: Callable[[Any], Any]) -> Path:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return path


def coco(out: Path, told: dict[str, Correction], *, keys: tuple[str, ...] = ("sample_id", "expression")) -> Path:
    """As a tool that keeps foreign keys; as CVAT, which keeps `attributes`; as one that keeps none."""

    def change(content: Any) -> Any:
        kept = []
        for number, entry in enumerate(content["annotations"]):
            box = told[entry["sample_id"]][1]
            if box is not None:
                foreign = {key: value for key, value in entry.items() if key in keys}
                kept.append({"id": 900 - number, "image_id": entry["image_id"] + 7, "bbox": sizes(box), **foreign})
        images = [image | {"id": image["id"] + 7} for image in content["images"]]
        return {"images": images, "annotations": kept, "categories": content["categories"]}

    return rewrite(out / "annotations.json", change)


def cvat(out: Path, told: dict[str, Correction], *, keeps_ids: bool = True) -> Path:
    """Ids and groups are new, box and mask of a removed label are gone; numbers have two digits."""
    tree = ET.parse(out / "annotations.xml")
    ET.SubElement(tree.find("meta/task"), "updated").text = "2026-11-30 10:00:00.5+00:00"
    for image in tree.iter("image"):
        image.set("id", "0")
        for shape in list(image):
            box = told[next(one.text for one in shape if one.get("name") == "sample_id")][1]
            if box is None:
                image.remove(shape)
            elif shape.tag == "box":
                shape.attrib |= {side: f"{at:.2f}" for side, at in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)}
                shape.attrib |= {"group_id": "0", "source": "manual"}
            for attribute in [one for one in shape if one.get("name") == "sample_id" and not keeps_ids]:
                shape.remove(attribute)
    tree.write(out / "annotations.xml")
    return out / "annotations.xml"


def label_studio(out: Path, told: dict[str, Correction], *, keeps: tuple[str, ...] = ("meta", "data")) -> Path:
    """Predictions stay, and an annotation stands beside them; a cancelled one decides nothing."""

    def change(tasks: Any) -> Any:
        for task in tasks:
            result = []
            for region in task["predictions"][0]["result"]:
                box = told[region["meta"]["sample_ids"][0]][1]
                if box is None:
                    continue
                if "rle" not in region["value"]:
                    shares = (
                        100 * side / whole for side, whole in zip(sizes(box, digits=9), (200, 100) * 2, strict=True)
                    )
                    region["value"] |= dict(zip(("x", "y", "width", "height"), shares, strict=True))
                result.append({key: value for key, value in region.items() if key != "meta" or "meta" in keeps})
            done = {"id": 1, "was_cancelled": False, "completed_by": {"email": "ann@x.org"}, "result": result}
            done["updated_at"] = "2026-11-30T10:00:00.5Z"
            cancelled = done | {"was_cancelled": True, "updated_at": "2026-11-30T11:00:00Z", "result": []}
            task["annotations"] = [done, cancelled]
            if "data" not in keeps:
                del task["data"]["sample_ids"]
        return tasks

    return rewrite(out / "tasks.json", change)


def fiftyone(out: Path, told: dict[str, Correction], *, extended: bool = False) -> Path:
    """In the form that went out, or in extended JSON with images copied to `data/`."""

    def change(content: Any) -> Any:
        for sample in content["samples"]:
            for name in ("boxes", "masks"):
                rows = [one for one in sample[name]["detections"] if told[one["sample_ids"][0]][1] is not None]
                for one in rows if name == "boxes" else ():
                    box = told[one["sample_ids"][0]][1]
                    one["bounding_box"] = [
                        side / whole for side, whole in zip(sizes(box, digits=9), (200, 100) * 2, strict=True)
                    ]
                if extended:
                    for one in rows:
                        one["_id"] = {"$oid": "5f2062bf27c024654f5286a0"}
                        one["confidence"] = {"$numberDouble": str(one["confidence"])}
                sample[name]["detections"] = rows
            if extended:
                sample["filepath"] = f"data/{Path(sample['filepath']).stem}-copy.jpg"
                sample["image_id"] = {"$numberLong": str(sample["image_id"])}
                sample["last_modified_at"] = {"$date": "2026-11-30T10:00:00.5Z"}
        return content

    return rewrite(out / "samples.json", change)


def yolo(out: Path, told: dict[str, Correction], *, keeps_rows: bool = True) -> Path:
    """Rows in another order; without `rows.json`, the text files are all that there is."""
    rows = json.loads((out / "boxes/rows.json").read_text())
    lines: dict[str, list[str]] = {one["image"]: [] for one in rows}
    for one in reversed(rows):
        box = told[one["sample_ids"][0]][1]
        if box is not None:
            left, top, width, height = shares(box)
            centred = (left + width / 2, top + height / 2, width, height)
            lines[one["image"]].append(" ".join(["0", *(f"{share:.6f}" for share in centred)]))
    for image, of_image in lines.items():
        (out / "boxes/labels" / image).with_suffix(".txt").write_text("\n".join(of_image))
    if not keeps_rows:
        (out / "boxes/rows.json").unlink()
    return out if keeps_rows else out / "boxes/labels"


def parquet(out: Path, told: dict[str, Correction]) -> Path:
    table = pd.read_parquet(out / "labels.parquet")
    table["bbox_xyxy"] = [told[sample_id][1] for sample_id in table["sample_id"]]
    table["accept"] = [told[sample_id][1] is not None for sample_id in table["sample_id"]]
    table[table["bbox_xyxy"].notna() | (table.index % 2 == 0)].to_parquet(out / "labels.parquet")
    return out / "labels.parquet"
