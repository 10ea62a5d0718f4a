"""What the tools themselves write of our exports, where they are installed, comes back as decisions."""

import json
from datetime import UTC, datetime

import pytest

from deixis.exports import coco, cvat, fiftyone, label_studio
from reviewing.returned.sent import read_sent
from reviewing.returned.taking import find_again
from tests.deixis.exports.labelled import exported, hard_rows, row, write_images

MOVED_BOX = (52.12, 20.0, 90.0, 60.0)
EXPECTED = {"s/1": ("box", MOVED_BOX), "s/2": ("accept", (6.0, 5.0, 53.337, 50.0)), "s/5": ("reject", None)}


@pytest.fixture
def rows():
    """Three labels of one image: the first is moved, the second stays, the third is removed."""
    return [*hard_rows()[:2], row("s/5", 7, [70.0, 2.0, 88.0, 15.0], None)]


def taken_back(tmp_path, path, kind):
    tables = tmp_path / "tables"
    options = {"image_root": None, "everything": False, "min_score": None}
    sent = read_sent(tables / "labels.parquet", tables / "images.parquet", **options)
    matched, _ = find_again(path, kind, sent, who="bob", only_changes=False)
    return {one.sample_id: (one.verdict, one.box) for one in matched.decisions}


def check(found):
    assert {name: verdict for name, (verdict, _) in found.items()} == {name: one[0] for name, one in EXPECTED.items()}
    assert found["s/1"][1] == pytest.approx(MOVED_BOX, abs=0.05)


@pytest.mark.parametrize(
    ("writer", "written"), [(cvat, "cvat"), (coco, "coco_instances"), (cvat, "coco_instances"), (cvat, "yolo")]
)
def test_datumaro_hands_corrections_back(tmp_path, rows, writer, written):
    datumaro = pytest.importorskip("datumaro")
    out = exported(writer.write, tmp_path, rows)
    write_images(out / "images")
    if writer is coco:
        (out / "annotations").mkdir()
        (out / "annotations.json").rename(out / "annotations" / "instances_train.json")
    place, kind = (out / "annotations.xml", "cvat") if writer is cvat else (out, "coco_instances")
    items = list(datumaro.Dataset.import_from(str(place), kind))
    for item in items:
        item.annotations = [one for one in item.annotations if one.attributes.get("sample_id") != "s/5"]
        for number, one in enumerate(item.annotations):
            if one.type.name == "bbox" and one.attributes["sample_id"] == "s/1":
                left, top, right, bottom = MOVED_BOX
                item.annotations[number] = one.wrap(x=left, y=top, w=right - left, h=bottom - top)
    edited = datumaro.Dataset.from_iterable(items, categories=["object"] if written != "cvat" else declared(datumaro))
    edited.export(str(tmp_path / "back"), written)
    found = sorted(path for path in (tmp_path / "back").rglob("*") if path.suffix in (".json", ".xml"))
    check(taken_back(tmp_path, found[0] if found else tmp_path / "back", written.split("_")[0]))


def declared(datumaro):
    """The label and its attributes; datumaro writes no others."""
    labels = datumaro.LabelCategories()
    labels.add("object", attributes=set(cvat.ATTRIBUTES))
    return {datumaro.AnnotationType.label: labels}


@pytest.fixture
def annotated(tmp_path, rows):
    """The tasks with an annotation as Label Studio stores it, which its own checks accept; and the configuration."""
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    out = exported(label_studio.write, tmp_path, rows)
    tasks = json.loads((out / "tasks.json").read_text())
    for task in tasks:
        result = [one for one in task["predictions"][0]["result"] if not one["id"].startswith("s/5")]
        for one in result:
            if one["id"] == "s/1/box":
                one["value"] |= {"x": 100 * MOVED_BOX[0] / 90, "width": 100 * (MOVED_BOX[2] - MOVED_BOX[0]) / 90}
        who = {"id": 1, "email": "ann@x.org", "first_name": "", "last_name": ""}
        task["id"] = 1
        task["annotations"] = [{"id": 3, "result": result, "completed_by": who, "was_cancelled": False}]
    configuration = (out / "labeling_config.xml").read_text()
    assert interface.LabelInterface(configuration).validate_annotation(tasks[0]["annotations"][0])
    (out / "done.json").write_text(json.dumps(tasks))
    return out / "done.json", configuration


def test_label_studio_hands_corrections_back(tmp_path, annotated):
    check(taken_back(tmp_path, annotated[0], "label-studio"))


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_label_studio_hands_corrections_back_in_formats_without_ids(tmp_path, annotated, kind):
    converter = pytest.importorskip("label_studio_sdk.converter")
    file, configuration = annotated
    own = converter.Converter(configuration, str(tmp_path), download_resources=False)
    getattr(own, f"convert_to_{kind}")(str(file), str(tmp_path / "back"), is_dir=False)
    check(taken_back(tmp_path, tmp_path / "back/result.json" if kind == "coco" else tmp_path / "back", kind))


@pytest.mark.parametrize("options", ["CANONICAL_JSON_OPTIONS", "RELAXED_JSON_OPTIONS", "LEGACY_JSON_OPTIONS"])
def test_records_of_fiftyones_database_come_back(tmp_path, rows, options):
    """Its exporter needs the database; what it writes is this of every record."""
    bson = pytest.importorskip("bson")
    json_util = pytest.importorskip("bson.json_util")
    out = exported(fiftyone.write, tmp_path, rows)
    content = json.loads((out / "samples.json").read_text())
    for sample in content["samples"]:
        sample |= {"_id": bson.ObjectId(), "last_modified_at": datetime(2026, 11, 30, 10, tzinfo=UTC)}
        sample["image_id"] = bson.Int64(sample["image_id"])
        for name in ("boxes", "masks"):
            kept = [one for one in sample[name]["detections"] if one["sample_ids"] != ["s/5"]]
            sample[name]["detections"] = [one | {"_id": bson.ObjectId()} for one in kept]
        sample["boxes"]["detections"][0]["bounding_box"] = [MOVED_BOX[0] / 90, 20 / 60, 37.88 / 90, 40 / 60]
    text = json_util.dumps(content, json_options=getattr(json_util, options))
    (out / "samples.json").write_text(text)
    check(taken_back(tmp_path, out, "fiftyone"))
