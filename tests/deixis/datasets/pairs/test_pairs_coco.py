"""COCO files as label tools, scripts and mergers write them: what they mean is kept, what nobody can know is listed."""

import json

import numpy as np
import pytest

from deixis.core.errors import DataError
from deixis.imaging.masks import encode_mask, run_lengths
from tests.deixis.datasets.pairs.corpora import codes, image, ingest

BOX = {"bbox": [4, 5, 20, 10]}  # corners 4, 5, 24, 15 in an image of 30 x 20
OUTLINE = [4, 5, 24, 5, 24, 15, 4, 15]


def write(raw, images, annotations, **more):
    (raw / "pairs.json").write_text(json.dumps({"images": images, "annotations": annotations} | more))


def pictures(raw, count: int):
    return [{"id": n, "file_name": image(raw / "images" / f"{n}.png", n).name} for n in range(count)]


def read(raw, out, **settings):
    return ingest(raw, out, boxes=None, val_share=1.0, **settings)


def pixels() -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[5:15, 4:24] = True
    return mask


def of_picture(tables) -> dict[str, str]:
    joined = tables["pairs"].merge(tables["images"], on="image_id")
    return dict(zip(joined["expression"], joined["path"], strict=True))


@pytest.mark.parametrize("annotation_ids", ["repeating", "their own"])
def test_an_image_id_that_repeats_gives_no_phrase_to_another_image(tmp_path, annotation_ids):
    raw = tmp_path / "raw"
    images, notes = [], []
    for camera in ("a", "b"):
        for number in range(3):
            if camera == "b" and number == 2:
                continue
            path = image(raw / "images" / f"{camera}{number}.png", ord(camera) + number)
            images.append({"id": number, "file_name": path.name})
            name = number if annotation_ids == "repeating" else len(notes) + 100
            notes.append({"id": name, "image_id": number, "caption": f"{camera} ball {number}"} | BOX)
    write(raw, images, notes)
    tables = read(raw, tmp_path / "out")
    assert of_picture(tables) == {"a ball 2": "a2.png"}
    assert codes(tables) == ["E_ID_DUP"] * 8  # two ids, each of two images and two phrases
    assert tables["quarantine"]["value"][0] == "two images have the id 0: a0.png, b0.png"


def test_an_image_row_that_is_there_twice_costs_nothing_else(tmp_path):
    raw = tmp_path / "raw"
    images = pictures(raw, 2)
    write(raw, [*images, dict(images[0])], [{"id": 1, "image_id": 0, "caption": "red ball"} | BOX])
    tables = read(raw, tmp_path / "out")
    assert (of_picture(tables), codes(tables)) == ({"red ball": "0.png"}, ["E_ID_DUP"])


def test_a_category_id_of_two_names_has_none(tmp_path):
    raw = tmp_path / "raw"
    notes = [{"id": n, "image_id": 0, "category_id": n, "caption": f"ball {n}"} | BOX for n in (1, 2)]
    names = [{"id": 1, "name": "cone"}, {"id": 1, "name": "cube"}, {"id": 2, "name": "ball"}]
    write(raw, pictures(raw, 1), notes, categories=names)
    tables = read(raw, tmp_path / "out")
    assert (tables["truth"]["category"].tolist(), codes(tables)) == (["?", "ball"], ["E_ID_DUP"])
    assert tables["quarantine"]["value"].tolist() == ["1 is cone and cube"]


def test_boxes_without_masks_are_no_mistake(tmp_path):
    raw = tmp_path / "raw"
    parts = [{"segmentation": absent} for absent in ([], [[]], [[], []], None)] + [{}]
    notes = [{"id": n, "image_id": n, "caption": f"ball {n}"} | BOX | part for n, part in enumerate(parts)]
    write(raw, pictures(raw, 5), notes)
    tables = read(raw, tmp_path / "out", max_quarantined=0.0)
    assert not codes(tables) and tables["truth"]["mask"].isna().all()
    assert [box.tolist() for box in tables["truth"]["box"]] == [[4, 5, 24, 15]] * 5


WHOLE = run_lengths(encode_mask(pixels())["counts"])
CODE = encode_mask(pixels())["counts"]
BROKEN_CODES = {
    "text of a bytes literal": f"b'{CODE}'",
    "half": CODE[: len(CODE) // 2],
    "of a larger image": encode_mask(np.ones((400, 600), bool))["counts"],
    "too long": [100, 5_000_000, 7],
    "too short": [100, 50],
    "negative": [100, -50, 550],
    "fractions": [100.5, 50, 449.5],
    "empty": "",
    "unfinished": "ooo",
    "huge": "oooooooooooooooo0",
    "not ASCII": "é" + CODE,
    "no counts": None,
    "an object": {"counts": CODE},
}


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a polygon"])
@pytest.mark.parametrize("counts", BROKEN_CODES.values(), ids=BROKEN_CODES)
def test_a_broken_run_length_code_costs_its_mask_alone(tmp_path, counts, beside):
    raw = tmp_path / "raw"
    broken = {"size": [20, 30], "counts": counts}
    masks = [
        {"size": [20, 30], "counts": CODE},
        [OUTLINE, broken] if beside else broken,
        {"size": [20, 30], "counts": WHOLE},
    ]
    notes = [{"id": n, "image_id": n, "caption": f"ball {n}", "segmentation": m} | BOX for n, m in enumerate(masks)]
    write(raw, pictures(raw, 3), notes)
    tables = read(raw, tmp_path / "out")
    assert codes(tables) == ["E_MASK_BROKEN"] and tables["quarantine"]["line"].tolist() == [1]
    assert [box.tolist() for box in tables["truth"]["box"]] == [[4, 5, 24, 15]] * 3
    stored = tables["truth"]["mask"].tolist()
    assert stored[1] is None and [stored[n]["counts"] for n in (0, 2)] == [CODE, CODE]
    assert tables["truth"]["area"].tolist() == [200, 200, 200]


def test_a_run_length_code_of_another_size_is_broken(tmp_path):
    raw = tmp_path / "raw"
    for size in ([30, 20], [], None, "20x30"):
        turned = {"size": size, "counts": CODE}
        write(raw, pictures(raw, 1), [{"id": 1, "image_id": 0, "caption": "ball", "segmentation": turned} | BOX])
        tables = read(raw, tmp_path / "out")
        assert (codes(tables), tables["truth"]["mask"].tolist()) == (["E_MASK_BROKEN"], [None])


def test_a_short_part_of_a_mask_is_dropped_and_noted(tmp_path):
    raw = tmp_path / "raw"
    note = {"id": 1, "image_id": 0, "caption": "ball", "segmentation": [[1, 2, 3, 4], OUTLINE]} | BOX
    write(raw, pictures(raw, 1), [note])
    tables = read(raw, tmp_path / "out")
    assert (codes(tables), tables["truth"]["area"].tolist()) == (["W_MASK_PART"], [200])


def corners_for_sizes(raw, count: int):
    notes = []
    for number in range(count):
        left, top = 1 + number % 4, 1 + number % 3
        right, bottom = left + 10, top + 8
        outline = [left, top, right, top, right, bottom, left, bottom]
        box = [left, top, right, bottom]
        notes.append({"id": number, "image_id": number, "caption": "ball", "bbox": box, "segmentation": [outline]})
    return pictures(raw, count), notes


def test_corners_where_coco_has_sizes_show_by_the_masks(tmp_path):
    raw = tmp_path / "raw"
    images, notes = corners_for_sizes(raw, 22)
    write(raw, images[:3], notes[:3])
    assert codes(read(raw, tmp_path / "out")) == ["W_BOX_LOOSE"] * 3
    write(raw, images, notes)
    with pytest.raises(DataError, match=r"22 of 22 boxes with a mask hold the corners .* Write bbox so.*boxes: none"):
        read(raw, tmp_path / "out")
    for note in notes:
        left, top, right, bottom = note["bbox"]
        note["bbox"] = [left, top, right - left, bottom - top]
    write(raw, images, notes)
    assert not codes(read(raw, tmp_path / "out"))


CATEGORIES = {  # category_id, categories -> name and number
    "null": (5, None, "?", 5),
    "a number": (5, 7, "?", 5),
    "an object": (5, {"5": "cone"}, "?", 5),
    "text": ("5", [{"id": "5", "name": "cone"}], "cone", 5),
    "text for a number": ("5", [{"id": 5, "name": "cone"}], "cone", 5),
    "a float": (5.0, [{"id": 5.0, "name": "cone"}], "cone", 5),
    "a float for a number": (5, [None, {"id": 5.0, "name": "cone"}], "cone", 5),
    "a word": ("cone", [{"id": "cone", "name": "cone"}], "cone", 0),
    "beyond 64 bits": (2**70, [{"id": 2**70, "name": "cone"}], "?", 0),
    "text beyond 64 bits": (str(2**70), [{"id": str(2**70), "name": "cone"}], "cone", 0),
    "a list": ([1], [{"id": [1], "name": "cone"}], "?", 0),
    "without a name": (5, [{"id": 5, "name": None}], "?", 5),
    "below zero": (-1, [{"id": -1, "name": "cone"}], "cone", -1),
}


@pytest.mark.parametrize(("kind", "categories", "name", "number"), CATEGORIES.values(), ids=CATEGORIES)
def test_odd_categories_cost_at_most_their_name(tmp_path, kind, categories, name, number):
    raw = tmp_path / "raw"
    notes = [{"id": n, "image_id": 0, "category_id": kind, "bbox": [4, 5, 20, 10 - n]} for n in range(2)]
    write(raw, pictures(raw, 1), [notes[0] | {"caption": "red wall"}, notes[1]], categories=categories)
    tables = read(raw, tmp_path / "out", max_quarantined=0.0)
    assert not codes(tables)
    assert (tables["truth"]["category"].tolist(), tables["truth"]["box"][0].tolist()) == ([name], [4, 5, 24, 15])
    assert tables["objects"]["categories"][0].tolist() == [number, number]


@pytest.mark.parametrize(("of_image", "of_annotation"), [(1, 1.0), (1.0, 1), (1.0, 1.0), ("1", 1.0), ("1", 1)])
def test_ids_that_passed_through_a_table_with_gaps_match(tmp_path, of_image, of_annotation):
    raw = tmp_path / "raw"
    picture = pictures(raw, 1)[0] | {"id": of_image, "width": 30.0, "height": 20.0}
    note = {"id": 1.0, "image_id": of_annotation, "caption": "red wall"} | BOX
    write(raw, [picture], [note])
    tables = read(raw, tmp_path / "out", max_quarantined=0.0)
    assert (tables["pairs"]["sample_id"].tolist(), codes(tables)) == (["mine/1"], [])
    write(raw, [picture | {"width": 31.0}], [note])
    with pytest.raises(DataError, match="E_IMG_SIZE"):
        read(raw, tmp_path / "out")


def test_null_ids_and_null_captions_are_none(tmp_path):
    raw = tmp_path / "raw"
    images = pictures(raw, 2)
    notes = [
        {"id": None, "image_id": 0, "caption": "red ball"} | BOX,
        {"id": None, "image_id": 0, "sentences": None, "caption": "blue ball"} | BOX,
        {"id": None, "image_id": 0, "caption": None, "category_id": 4} | BOX,
        {"id": 7, "image_id": 1, "caption": "the whole wall", "split": None} | BOX,
    ]
    write(raw, [image | {"caption": None, "split": "val"} for image in images], notes)
    tables = read(raw, tmp_path / "out", max_quarantined=0.0)
    names = ["mine/pairs.json#annotations:0", "mine/pairs.json#annotations:1", "mine/7"]
    assert tables["pairs"]["sample_id"].tolist() == names and not codes(tables)
    assert set(tables["pairs"]["split"]) == {"val"}
    assert tables["objects"]["categories"][0].tolist().count(4) == 1


def test_phrases_of_annotations_survive_a_caption_of_their_image(tmp_path):
    raw = tmp_path / "raw"
    picture = pictures(raw, 1)[0] | {"caption": "two balls on a table"}
    notes = [{"id": n, "image_id": 0, "caption": text} | BOX for n, text in ((1, "left ball"), (2, "right ball"))]
    write(raw, [picture], [*notes, {"id": 3, "image_id": 0, "bbox": [0, 0, 30, 20]}])
    tables = read(raw, tmp_path / "out", max_quarantined=0.0)
    boxes = dict(zip(tables["pairs"]["expression"], tables["truth"]["box"].map(list), strict=True))
    assert boxes["two balls on a table"] == [0, 0, 30, 20] and boxes["left ball"] == [4, 5, 24, 15] and len(boxes) == 3


def test_names_of_files_as_label_tools_write_them(tmp_path):
    raw = tmp_path / "raw"
    for seed, name in enumerate(("one.png", "two.png", "sub dir/three.png")):
        image(raw / "images" / name, seed)
    said = ["images\\one.png", "./two.png", "..\\..\\upload\\two.png", "sub%20dir/three.png", "/data/local/?d=one.png"]
    images = [{"id": n, "file_name": name} for n, name in enumerate(said)]
    write(raw, images, [{"id": n, "image_id": n, "caption": f"ball {n}"} | BOX for n in range(5)])
    tables = read(raw, tmp_path / "out")
    assert of_picture(tables) == {"ball 0": "one.png", "ball 1": "two.png"}
    assert codes(tables) == ["E_IMG_MISSING", "E_IMG_PATH", "E_IMG_PATH"]
    assert all(any(name in value for value in tables["quarantine"]["value"]) for name in said[2:])


@pytest.mark.parametrize("segmentation", ['{"size": [1], "size": [2]}', "[" * 900 + "]" * 900], ids=["twice", "deep"])
def test_a_segmentation_that_no_encoder_would_write(tmp_path, segmentation):
    raw = tmp_path / "raw"
    write(raw, pictures(raw, 1), [{"id": 1, "image_id": 0, "caption": "ball", "segmentation": "@"} | BOX])
    (raw / "pairs.json").write_text((raw / "pairs.json").read_text().replace('"@"', segmentation))
    tables = read(raw, tmp_path / "out")
    assert (codes(tables), len(tables["truth"])) == (["E_MASK_BROKEN"], 1)
