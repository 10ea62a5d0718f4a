"""Exports, read back with the readers of the tools themselves, where these are installed (requirements.txt)."""

import json
import os
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from deixis.exports import coco, cvat, fiftyone, label_studio, parquet, yolo
from deixis.exports.reading import LabelReader
from deixis.exports.types import Options
from tests.deixis.exports.labelled import (
    HARD_TEXT,
    HEIGHT,
    PATHS,
    SIZES,
    WIDTH,
    exported,
    hard_rows,
    iou,
    l_shape,
    ring_and_part,
    write_images,
)
from tests.deixis.exports.prepared import BOX as ODD_BOX
from tests.deixis.exports.prepared import HEIGHT as ODD_HEIGHT
from tests.deixis.exports.prepared import KINDS, prepare_corpus
from tests.deixis.exports.prepared import WIDTH as ODD_WIDTH

L_BOX = [50.123, 20.0, 90.0, 60.0]


@pytest.fixture
def image_root(tmp_path):
    return write_images(tmp_path / "images")


def corners(left, top, width, height):
    return [left, top, left + width, top + height]


def by_kind(item):
    """Annotations of an item of datumaro's, boxes and masks apart, in their order."""
    kinds: dict[str, list] = {}
    for annotation in item.annotations:
        kinds.setdefault(annotation.type.name, []).append(annotation)
    return kinds


def test_datumaro_reads_cvat(tmp_path, image_root):
    datumaro = pytest.importorskip("datumaro")
    out = exported(cvat.write, tmp_path, hard_rows()[:2])  # datumaro tells no two images of one stem apart
    image_root.rename(out / "images")
    items = {item.id: item for item in datumaro.Dataset.import_from(str(out / "annotations.xml"), "cvat")}
    kinds = by_kind(items["a/red & blue #1"])
    np.testing.assert_allclose(corners(*kinds["bbox"][0].get_bbox()), L_BOX, atol=0.05)
    assert kinds["bbox"][0].attributes["expression"] == HARD_TEXT
    assert (kinds["mask"][0].image.astype(bool) == l_shape()).all()
    assert (kinds["mask"][1].image.astype(bool) == ring_and_part()).all()


def test_datumaro_reads_coco(tmp_path, image_root):
    datumaro = pytest.importorskip("datumaro")
    out = exported(coco.write, tmp_path, hard_rows()[:2])
    (out / "annotations").mkdir()
    (out / "annotations.json").rename(out / "annotations" / "instances_train.json")
    image_root.rename(out / "images")
    items = {item.attributes["id"]: item for item in datumaro.Dataset.import_from(str(out), "coco_instances")}
    masks = {annotation.attributes["score"]: annotation.image for annotation in by_kind(items[7])["mask"]}
    assert (masks[9.25].astype(bool) == l_shape()).all()
    assert (masks[-0.5].astype(bool) == ring_and_part()).all()


def test_label_studio_accepts_the_predictions(tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    out = exported(label_studio.write, tmp_path, hard_rows())
    configuration = interface.LabelInterface((out / "labeling_config.xml").read_text())
    configuration.validate()
    tasks = json.loads((out / "tasks.json").read_text())
    for task in tasks:
        assert configuration.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert configuration.validate_prediction(prediction, return_errors=True) == []
    regions = {(region["id"], region["type"]): region["value"] for region in tasks[0]["predictions"][0]["result"]}
    for name, pixels in (("s/1", l_shape()), ("s/2", ring_and_part())):
        values = brush.decode_rle(regions[f"{name}/mask", "brushlabels"]["rle"]).reshape(HEIGHT, WIDTH, 4)
        assert ((values[..., 3] > 0) == pixels).all()


def whole_image(corners_as_shares):
    return np.multiply(corners_as_shares, [ODD_WIDTH, ODD_HEIGHT] * 2)


def read_with_datumaro(out, start, *, place, kind):
    datumaro = pytest.importorskip("datumaro")
    (out / "images").symlink_to(start)
    items = list(datumaro.Dataset.import_from(str(out / place), kind))
    for item in items:
        yield item.media.path, corners(*(by_kind(item).get("bbox") or by_kind(item)["mask"])[0].get_bbox())


def read_coco_export(out, start):
    (out / "annotations").mkdir()
    (out / "annotations.json").rename(out / "annotations" / "instances_train.json")
    return read_with_datumaro(out, start, place="", kind="coco_instances")


def read_cvat_export(out, start):
    return read_with_datumaro(out, start, place="annotations.xml", kind="cvat")


def read_label_studio_export(out, start):
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    configuration = interface.LabelInterface((out / "labeling_config.xml").read_text())
    for task in json.loads((out / "tasks.json").read_text()):
        assert configuration.validate_prediction(task["predictions"][0], return_errors=True) == []
        value = task["predictions"][0]["result"][0]["value"]
        shares = corners(*(value[side] / 100 for side in ("x", "y", "width", "height")))
        yield start / unquote(task["data"]["image"].removeprefix(label_studio.IMAGE_ADDRESS)), whole_image(shares)


def read_fiftyone_export(out, start):
    pytest.importorskip("fiftyone")
    from fiftyone.utils.data.importers import FiftyOneDatasetImporter

    with FiftyOneDatasetImporter(str(out))._to_legacy_importer() as samples:
        for sample in samples:
            yield sample.filepath, whole_image(corners(*sample["boxes"].detections[0].bounding_box))


def read_yolo_export(out, start):
    """With FiftyOne's importer, which finds image lists and labels as ultralytics' does."""
    importers = pytest.importorskip("fiftyone.utils.yolo")
    options = {"yaml_path": str(out / "boxes/data.yaml"), "split": "train"}
    with importers.YOLOv5DatasetImporter(str(out / "boxes"), **options) as samples:
        for image, _, found in samples:
            yield image, whole_image(corners(*found.detections[0].bounding_box))


def read_yolo_export_with_ultralytics(out, start):
    utils = pytest.importorskip("ultralytics.data.utils")
    for listed in (out / "boxes/train.txt").read_text().split():
        image = str(out / "boxes" / listed)
        (text,) = utils.img2label_paths([image])
        row = utils.verify_image_label((image, text, "", False, 1, 0, 0, False))[1][0]
        yield image, whole_image(corners(*(row[1:3] - row[3:] / 2), *row[3:]))


def read_parquet_export(out, start):
    for row in pytest.importorskip("pyarrow.parquet").read_table(out / "labels.parquet").to_pylist():
        yield start / row["image_path"], row["bbox_xyxy"]


READERS = [
    (coco, read_coco_export), (cvat, read_cvat_export), (label_studio, read_label_studio_export),
    (fiftyone, read_fiftyone_export), (yolo, read_yolo_export), (yolo, read_yolo_export_with_ultralytics),
    (parquet, read_parquet_export),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("writer", "read"), READERS, ids=[read.__name__ for _, read in READERS])
def test_images_that_preparing_left_elsewhere_are_read_with_their_boxes(tmp_path, monkeypatch, writer, read, kind):
    monkeypatch.setitem(os.environ, "FIFTYONE_DATABASE_URI", "mongodb://localhost:1")
    monkeypatch.setitem(os.environ, "FIFTYONE_DO_NOT_TRACK", "1")
    labels, images, root = prepare_corpus(tmp_path, kind)
    reader, out = LabelReader(labels, images, image_root=root), tmp_path / "out"
    out.mkdir()
    writer.write(reader.images(), out, Options(image_root=reader.names_root, per_object=False))
    found = list(read(out, reader.names_root))
    assert len(found) == (1 if kind == "inline" else 2)
    for path, box in found:
        with Image.open(path) as image:
            assert image.size == (ODD_WIDTH, ODD_HEIGHT)
        np.testing.assert_allclose(box, ODD_BOX, atol=0.05)


def test_label_studio_would_refuse_another_label(tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    out = exported(label_studio.write, tmp_path, hard_rows())
    configuration = interface.LabelInterface((out / "labeling_config.xml").read_text())
    prediction = json.loads((out / "tasks.json").read_text())[0]["predictions"][0]
    prediction["result"][0]["value"]["rectanglelabels"] = ["cat"]
    assert configuration.validate_prediction(prediction, return_errors=True)


def test_fiftyone_reads_samples_and_draws_the_masks(tmp_path, image_root, monkeypatch):
    """Its importer hands out samples; only putting them into a dataset needs its database."""
    monkeypatch.setitem(os.environ, "FIFTYONE_DATABASE_URI", "mongodb://localhost:1")
    monkeypatch.setitem(os.environ, "FIFTYONE_DO_NOT_TRACK", "1")
    pytest.importorskip("fiftyone")
    from fiftyone.utils.data.importers import FiftyOneDatasetImporter

    out = exported(fiftyone.write, tmp_path, hard_rows(), image_root=image_root)
    importer = FiftyOneDatasetImporter(str(out))
    assert importer._is_legacy_format_data()
    with importer._to_legacy_importer() as samples:
        first, second = samples
    assert first.filepath == str(image_root / PATHS[7])
    box = first["boxes"].detections[0]
    np.testing.assert_allclose(
        corners(*np.multiply(box.bounding_box, [WIDTH, HEIGHT, WIDTH, HEIGHT])), L_BOX, atol=0.05
    )
    assert (box["expressions"], box.confidence) == ([HARD_TEXT], 9.25)
    for detection, pixels in zip(first["masks"].detections, (l_shape(), ring_and_part()), strict=True):
        drawn = detection.to_segmentation(frame_size=(WIDTH, HEIGHT)).mask
        assert ((drawn > 0) == pixels).all()
    assert second["masks"].detections == []


def test_ultralytics_reads_the_rows(tmp_path, image_root):
    """`verify_image_label` is what its data loader asks; an extra, and under another licence than ours."""
    utils = pytest.importorskip("ultralytics.data.utils")
    out = exported(yolo.write, tmp_path, hard_rows(), image_root=image_root)
    for kind in yolo.KINDS:
        description = YAML(typ="safe").load((out / kind / "data.yaml").read_text())
        listed = (out / kind / description["train"]).read_text().split("\n")[0]
        image = str(out / kind / listed)
        (labels,) = utils.img2label_paths([image])
        _, rows, size, segments, _, _, _, _, corrupt, message = utils.verify_image_label(
            (image, labels, "", False, 1, 0, 0, False)
        )
        assert not corrupt, message
        assert size == (SIZES[7][1], SIZES[7][0])
        box = corners(*(rows[0, 1:3] - rows[0, 3:] / 2), *rows[0, 3:])
        expected = L_BOX if kind == "boxes" else [50, 20, 90, 60]
        np.testing.assert_allclose(np.multiply(box, [WIDTH, HEIGHT, WIDTH, HEIGHT]), expected, atol=0.05)
        if kind == "polygons":
            from skimage.draw import polygon2mask

            points = segments[0] * [WIDTH, HEIGHT]
            assert iou(polygon2mask((HEIGHT, WIDTH), points[:, ::-1] - 0.5), l_shape()) >= 0.95
