"""Exports, read back with the readers of the tools themselves, where these are installed (requirements.txt)."""

import json
import os

import numpy as np
import pytest
from ruamel.yaml import YAML

from deixis.exports import coco, cvat, fiftyone, label_studio, yolo
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
