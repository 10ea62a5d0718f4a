"""A folder of photographs with phrases, made up: copied, prepared by the ordinary stage, or refused by line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from deixis.core.config import load_params
from deixis.core.errors import DataError
from deixis.datasets.photos import copy_photos
from stages.prepare import prepare

SCALE = Path(__file__).parents[3] / "scales" / "photographs.yaml"
BOXES = {11: (1, [4.0, 6.0, 20.0, 10.0]), 12: (1, [30.0, 2.0, 9.0, 9.0]), 21: (2, [0.0, 0.0, 32.0, 24.0])}
PHRASES = [  # image, annotation, phrase, split
    (1, 11, "brown dog", "train"), (1, 11, "The DOG on the left", "train"), (1, 12, "ball", "train"),
    (2, 21, "café\u2028wall", "dev"),
]  # fmt: skip


def corners(left, top, width, height):
    return [left, top, left + width, top, left + width, top + height, left, top + height]


@pytest.fixture
def folder(tmp_path):
    """Two photographs; the first annotation has a polygon, the others are boxes alone."""
    folder, rng = tmp_path / "given", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number, (width, height) in {1: (48, 32), 2: (32, 24)}.items():
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number:012d}.jpg")
    annotations = [
        {"id": number, "image_id": image, "category_id": 18, "bbox": box, "iscrowd": 0}
        for number, (image, box) in BOXES.items()
    ]
    annotations[0] |= {"segmentation": [corners(*BOXES[11][1])], "area": 200.0}
    sizes = {1: (48, 32), 2: (32, 24)}
    instances = {
        "images": [
            {"id": number, "file_name": f"{number:012d}.jpg", "width": width, "height": height}
            for number, (width, height) in sizes.items()
        ],
        "annotations": annotations,
        "categories": [{"id": 18, "name": "dog"}],
    }
    (folder / "instances.json").write_text(json.dumps(instances), encoding="utf-8")
    write_phrases(folder, [json.dumps(row(*values), ensure_ascii=False) for values in PHRASES])
    return folder


def row(image, annotation, phrase, split):
    return {"image_id": image, "annotation_id": annotation, "phrase": phrase, "kind": "place", "split": split}


def write_phrases(folder, lines):
    (folder / "phrases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepared(raw, tmp_path, **changes):
    """Through the stage, with the dataset's own entry of scales/photographs.yaml."""
    entry = load_params(SCALE)["datasets"]["photos"] | changes
    with (tmp_path / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump({"datasets": {"photos": entry}}, stream)
    prepare(dataset="photos", raw=raw, out=tmp_path / "out", params=tmp_path / "params.yaml")
    return {path.stem: pd.read_parquet(path) for path in (tmp_path / "out").glob("*.parquet")}


def test_a_copied_folder_is_prepared_with_boxes_and_the_masks_that_there_are(folder, tmp_path):
    assert copy_photos(folder, tmp_path / "raw") == 4
    shutil.rmtree(folder)  # stages read nothing but the copy
    tables = prepared(tmp_path / "raw", tmp_path)
    pairs, truth = tables["pairs"], tables["truth"].set_index("sample_id")
    assert pairs["expression"].tolist() == ["brown dog", "The DOG on the left", "ball", "café\u2028wall"]
    assert pairs["text"].tolist() == ["brown dog", "the dog on the left", "ball", "café wall"]
    assert pairs["split"].tolist() == ["train", "train", "train", "val"]
    assert pairs["image_id"].tolist() == [1, 1, 1, 2] and pairs["ref_id"].nunique() == 3
    boxes = truth.loc[pairs["sample_id"], "box"].map(list).tolist()
    assert boxes == [[4, 6, 24, 16], [4, 6, 24, 16], [30, 2, 39, 11], [0, 0, 32, 24]]
    masks = truth.loc[pairs["sample_id"], "mask"]
    assert masks.notna().tolist() == [True, True, False, False]
    assert truth.loc[pairs["sample_id"], "area"].tolist()[:2] == [200, 200]
    assert tables["images"]["path"].tolist() == ["000000000001.jpg", "000000000002.jpg"]
    assert tables["quarantine"].empty and len(tables["objects"]["boxes"].iloc[0]) == 8


def test_where_all_have_masks_one_that_lacks_is_a_fault(folder, tmp_path):
    copy_photos(folder, tmp_path / "raw")
    tables = prepared(tmp_path / "raw", tmp_path, masks="all", max_quarantined=1.0)
    assert tables["quarantine"]["code"].tolist() == ["E_MASK_BROKEN"] * 2
    assert tables["pairs"]["expression"].tolist() == ["brown dog", "The DOG on the left", "ball"]  # training needs none
    assert tables["truth"]["mask"].notna().tolist() == [True, True]


def test_a_copy_of_a_copy_is_the_same(folder, tmp_path):
    for _ in range(2):
        copy_photos(folder, tmp_path / "raw")
    assert len(list((tmp_path / "raw/images").iterdir())) == 2


BAD_ROWS = {
    "no-json": "{",
    "no-object": "[1, 11, 3]",
    "no-phrase": '{"image_id": 1, "annotation_id": 11, "split": "train"}',
    "a-number-for-a-phrase": json.dumps(row(1, 11, 5, "train")),
    "nothing-for-a-phrase": json.dumps(row(1, 11, None, "train")),
    "a-list-for-a-split": json.dumps(row(1, 11, "dog", ["train"])),
    "a-list-for-a-number": json.dumps(row(1, [11], "dog", "train")),
    "text-for-a-number": json.dumps(row("1", 11, "dog", "train")),
    "another-split": json.dumps(row(1, 11, "dog", "testA")),
    "no-such-annotation": json.dumps(row(1, 99, "dog", "train")),
    "annotation-of-another-image": json.dumps(row(2, 11, "dog", "train")),
    "no-such-image": json.dumps(row(3, 31, "dog", "train")),
}


@pytest.mark.parametrize("line", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_refused_by_its_line(line, folder, tmp_path):
    good = json.dumps(row(1, 11, "dog", "train"))
    instances = json.loads((folder / "instances.json").read_text())
    instances["annotations"].append({"id": 31, "image_id": 3, "category_id": 18, "bbox": [0, 0, 2, 2]})
    (folder / "instances.json").write_text(json.dumps(instances))
    write_phrases(folder, [good, "", good, line])
    with pytest.raises(DataError, match=r"phrases\.jsonl, line 4: .*Mend the line"):
        copy_photos(folder, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("instances.json", None, r"instances\.json: no such file.*Put COCO's"),
        ("instances.json", b"{", r"instances\.json: not JSON.*Fetch"),
        ("instances.json", b"[]", r"instances\.json: not COCO's instances\.json.*Fetch"),
        ("instances.json", b'{"annotations": [{}], "images": []}', r"instances\.json: not COCO's.*Fetch"),
        ("instances.json", b'{"annotations": [3], "images": []}', r"instances\.json: not COCO's.*Fetch"),
        ("phrases.jsonl", None, r"phrases\.jsonl: missing\. Put phrases there"),
        ("phrases.jsonl", b"\xff\xfe{", r"phrases\.jsonl: not UTF-8.*one JSON object a line"),
    ],
)
def test_a_missing_or_damaged_file_is_refused(name, content, message, folder, tmp_path):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        copy_photos(folder, tmp_path / "raw")


def test_a_folder_without_photographs_is_refused(folder, tmp_path):
    shutil.rmtree(folder / "images")
    with pytest.raises(DataError, match=r"images: no such folder. Put the photographs there"):
        copy_photos(folder, tmp_path / "raw")
