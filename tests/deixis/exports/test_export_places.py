"""Images that preparing left beside the folder of images are exported under names that lead to them."""

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from commands.export import export
from deixis.core.errors import DataError
from deixis.exports import TARGETS
from deixis.exports.label_studio import IMAGE_ADDRESS
from deixis.exports.reading import LabelReader
from tests.deixis.exports.labelled import hard_rows, row, write_tables
from tests.deixis.exports.prepared import BOX, HEIGHT, KINDS, WIDTH, prepare_corpus


def written(out: Path, target: str) -> dict[str, tuple[list[float], tuple[int, int]]]:
    """Name of each image, its one box and its stated size, by each format's own rule."""
    scale = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    if target == "coco":
        whole = json.loads((out / "annotations.json").read_text())
        boxes = {item["image_id"]: item["bbox"] for item in whole["annotations"]}
        found = {i["file_name"]: (boxes[i["id"]], (i["width"], i["height"])) for i in whole["images"]}
        return {name: ([*box[:2], box[0] + box[2], box[1] + box[3]], size) for name, (box, size) in found.items()}
    if target == "label-studio":
        found = {}
        for task in json.loads((out / "tasks.json").read_text()):
            region = task["predictions"][0]["result"][0]
            left, top, width, height = (region["value"][side] for side in ("x", "y", "width", "height"))
            corners = np.array([left, top, left + width, top + height]) / 100 * scale
            name = unquote(task["data"]["image"].removeprefix(IMAGE_ADDRESS))
            found[name] = (corners.tolist(), (region["original_width"], region["original_height"]))
        return found
    if target == "cvat":
        images = ET.parse(out / "annotations.xml").getroot().findall("image")
        sides = ("xtl", "ytl", "xbr", "ybr")
        boxes = [[float(image.find("box").get(side)) for side in sides] for image in images]
        sizes = [(int(image.get("width")), int(image.get("height"))) for image in images]
        return {image.get("name"): found for image, *found in zip(images, boxes, sizes, strict=True)}
    if target == "fiftyone":
        found = {}
        for sample in json.loads((out / "samples.json").read_text())["samples"]:
            left, top, width, height = sample["boxes"]["detections"][0]["bounding_box"]
            corners = np.array([left, top, left + width, top + height]) * scale
            found[sample["filepath"]] = (corners.tolist(), (WIDTH, HEIGHT))
        return found
    if target == "yolo":
        found = {}
        for line in (out / "boxes/train.txt").read_text().split():
            label = Path("/labels/".join(f"{out}/boxes/{line}".rsplit("/images/", 1))).with_suffix(".txt")
            x, y, width, height = np.array(label.read_text().split()[1:], float) * scale
            box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            found[line.removeprefix("./images/")] = (box, (WIDTH, HEIGHT))
        return found
    table = pd.read_parquet(out / "labels.parquet")
    sizes = zip(table["width"], table["height"], strict=True)
    return {p: (list(b), s) for p, b, s in zip(table["image_path"], table["bbox_xyxy"], sizes, strict=True)}


@pytest.mark.parametrize("names_root", [True, False], ids=["root named", "root found"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", list(TARGETS))
def test_names_lead_to_images_of_the_stated_size(tmp_path, capsys, target, kind, names_root):
    labels, images, root = prepare_corpus(tmp_path, kind)
    export(labels, to=target, images=images, out=tmp_path / "out", image_root=root if names_root else None)
    told = capsys.readouterr().err.strip().splitlines()[-1]
    start = Path(told.rpartition("; images are named from ")[2])
    found = written(tmp_path / "out", target)
    assert len(found) == len(pd.read_parquet(images))
    for name, (box, size) in found.items():
        assert name.startswith(str(tmp_path)) == (target == "fiftyone" and names_root) and ".." not in name
        with Image.open(start / name) as image:
            assert image.size == size == (WIDTH, HEIGHT)
        np.testing.assert_allclose(box, BOX, atol=0.05)
        if target == "yolo" and names_root:
            assert (tmp_path / "out/boxes/images" / name).read_bytes() == (start / name).read_bytes()


def test_images_of_a_stated_root_are_named_from_it(tmp_path):
    """As `image_root` of a published set makes prepare write them: by their whole paths."""
    labels, images = write_tables(tmp_path, hard_rows())
    table = pd.read_parquet(images)
    table.assign(path=[str(tmp_path / "train2014" / path) for path in table["path"]]).to_parquet(images)
    named = LabelReader(labels, images, image_root=tmp_path / "train2014")
    assert [labelled.image.path for labelled in named.images()] == ["a/red & blue #1.jpg", "a/red & blue #1.png"]
    alone = LabelReader(labels, images)
    assert alone.names_root == tmp_path / "train2014"
    assert [labelled.image.path for labelled in alone.images()] == ["a/red & blue #1.jpg", "a/red & blue #1.png"]


def test_a_linked_folder_of_images_is_followed(tmp_path):
    labels, images, root = prepare_corpus(tmp_path, "turned")
    root.rename(tmp_path / "elsewhere")
    root.symlink_to(tmp_path / "elsewhere")
    reader = LabelReader(labels, images, image_root=root)
    assert all(os.path.exists(reader.names_root / labelled.image.path) for labelled in reader.images())


def test_a_folder_that_is_needed_and_not_found_is_asked_for(tmp_path):
    labels, images = write_tables(tmp_path, hard_rows())
    pd.read_parquet(images).assign(path=["../a.jpg", "b.jpg", "c.jpg"]).to_parquet(images)
    with pytest.raises(DataError, match=r"'../a.jpg' leaves the image root, which was not found. .*--image-root"):
        LabelReader(labels, images)


@pytest.mark.parametrize("path", ["../../secret.jpg", "/etc/secret.jpg", "a/../../../b.jpg", "..\\..\\a.jpg"])
def test_paths_to_where_preparing_puts_nothing_are_refused(tmp_path, path):
    (tmp_path / "own/images").mkdir(parents=True)
    labels, images = write_tables(tmp_path / "tables", [row("s/1", 7, [0.0, 0.0, 9.0, 9.0], None)])
    pd.read_parquet(images).assign(path=[path, "b.jpg", "c.jpg"]).to_parquet(images)
    with pytest.raises(DataError, match=r"leaves the image root .*own/images\. Allowed: .* --image-root FOLDER"):
        LabelReader(labels, images, image_root=tmp_path / "own/images")
