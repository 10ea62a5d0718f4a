"""COCO's own reader gives back what went in."""

import json

import numpy as np
from pycocotools.coco import COCO

from deixis.exports.coco import write
from tests.deixis.exports.labelled import HARD_TEXT, exported, hard_rows, l_shape, ring_and_part


def test_pycocotools_reads_boxes_masks_and_texts(tmp_path):
    out = exported(write, tmp_path, hard_rows())
    assert sorted(path.name for path in out.iterdir()) == ["annotations.json", "results.json"]
    coco = COCO(out / "annotations.json")
    assert sorted(coco.anns) == [1, 2, 3]
    assert [coco.imgs[i]["file_name"] for i in (7, 8)] == ["a/red & blue #1.jpg", "a/red & blue #1.png"]
    first, second, third = (coco.anns[number] for number in (1, 2, 3))
    np.testing.assert_allclose(first["bbox"], [50.123, 20.0, 39.877, 40.0], atol=0.05)
    np.testing.assert_allclose(third["bbox"], [0.0, 1.25, 20.0, 98.625], atol=0.05)
    assert (coco.annToMask(first) == l_shape()).all()
    assert (coco.annToMask(second) == ring_and_part()).all()
    assert second["area"] == ring_and_part().sum()
    assert first["expression"] == HARD_TEXT
    assert (first["score"], first["sample_id"], first["iscrowd"]) == (9.25, "s/1", 0)


def test_results_load_into_the_evaluator(tmp_path):
    out = exported(write, tmp_path, hard_rows())
    truth = COCO(out / "annotations.json")
    loaded = truth.loadRes(str(out / "results.json"))
    assert [loaded.anns[number]["score"] for number in (1, 2, 3)] == [9.25, -0.5, 1.5]
    assert (loaded.annToMask(loaded.anns[1]) == l_shape()).all()


def test_no_labels_make_whole_files(tmp_path):
    out = exported(write, tmp_path, [row | {"accept": False} for row in hard_rows()])
    assert json.loads((out / "annotations.json").read_text())["annotations"] == []
    assert json.loads((out / "results.json").read_text()) == []
