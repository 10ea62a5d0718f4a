"""YOLO's rows, read by the rule that trainers follow: a label file lies where its image lies, images for labels."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML
from skimage.draw import polygon2mask

from deixis.core.errors import DataError
from deixis.exports.reading import LabelReader
from deixis.exports.types import ExportedImage, Options
from deixis.exports.yolo import ImageNames, outline, write
from tests.deixis.exports.labelled import (
    HARD_TEXT,
    HEIGHT,
    SIZES,
    WIDTH,
    exported,
    hard_rows,
    iou,
    l_shape,
    ring_and_part,
    row,
    write_images,
    write_tables,
)


def read_rows(folder, listed: str) -> dict[tuple[int, int], list[np.ndarray]]:
    """Rows of each image of a list, by the image's size."""
    by_size = {}
    for line in (folder / listed).read_text().splitlines():
        path = folder / line
        parts = list(path.parts)
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
        rows = (type(path)(*parts).with_suffix(".txt")).read_text().splitlines()
        assert {entry.split()[0] for entry in rows} == {"0"}
        with Image.open(path) as image:
            by_size[image.size] = [np.array(entry.split()[1:], float) for entry in rows]
    return by_size


def drawn(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels whose middle lies inside."""
    return polygon2mask((height, width), points[:, ::-1] - 0.5)


@pytest.fixture
def out(tmp_path):
    return exported(write, tmp_path, hard_rows(), image_root=write_images(tmp_path / "images"))


def test_boxes_come_back(out):
    description = YAML(typ="safe").load((out / "boxes" / "data.yaml").read_text())
    assert description == {"train": "train.txt", "val": "val.txt", "names": {0: "object"}}
    first = read_rows(out / "boxes", "train.txt")[SIZES[7]]
    second = read_rows(out / "boxes", "val.txt")[SIZES[8]]
    assert len(first) == 2 and len(second) == 1
    for line, (left, top, right, bottom), size in (
        (first[0], [50.123, 20.0, 90.0, 60.0], SIZES[7]),
        (second[0], [0.0, 1.25, 20.0, 99.875], SIZES[8]),
    ):
        centre, side = line[:2] * size, line[2:] * size
        np.testing.assert_allclose([*(centre - side / 2), *(centre + side / 2)], [left, top, right, bottom], atol=0.05)


def test_outlines_come_back_and_of_several_parts_the_largest(out):
    first, second = read_rows(out / "polygons", "train.txt")[SIZES[7]]
    largest = ring_and_part()
    largest[45:50, 50:53] = False
    for line, pixels in ((first, l_shape()), (second, largest)):
        assert ((line >= 0) & (line <= 1)).all()
        assert iou(drawn(line.reshape(-1, 2) * [WIDTH, HEIGHT], WIDTH, HEIGHT), pixels) >= 0.95
    description = YAML(typ="safe").load((out / "polygons" / "data.yaml").read_text())
    assert description["val"] == "train.txt"  # nothing of val has a mask


def test_rows_are_told_apart_in_the_list_beside(out):
    rows = json.loads((out / "boxes" / "rows.json").read_text())
    assert [(entry["row"], entry["sample_ids"], entry["score"]) for entry in rows] == [
        (0, ["s/1"], 9.25),
        (1, ["s/2"], -0.5),
        (0, ["s/3"], 1.5),
    ]
    assert rows[0]["expressions"] == [HARD_TEXT]
    assert (out / "boxes" / "images" / rows[2]["image"]).exists()


def test_images_with_one_stem_get_names_of_their_own():
    names = ImageNames()
    paths = ["a/1.jpg", "a/1.png", "a/1_png.jpg", "A/1.JPG", "b/1.jpg", "a/1.png.webp"]
    stems = [names.of(ExportedImage(1, path, 1, 1, 0)) for path in paths]
    assert stems[0] == "a/1.jpg"
    assert stems[1] == "a/1_png.png"
    assert stems[4] == "b/1.jpg"
    assert len({name.rsplit(".", 1)[0].casefold() for name in stems}) == len(paths)


PATHS = [
    "00/images/25.jpg",
    "images/1.jpg",
    "plain/26.jpg",
    "a/images/b/images/2.jpg",
    "images.jpg",
    "a.images/b.c.jpg",
]


def test_labels_lie_where_trainers_look_for_them_whatever_folders_are_called(tmp_path):
    labels, images = write_tables(tmp_path, [row(f"s/{n}", n, [1.0, 2, 9, 9], l_shape()) for n in range(len(PATHS))])
    table = [
        {"image_id": n, "path": path, "sha256": f"{n:064d}", "width": WIDTH, "height": HEIGHT, "licence": "CC0-1.0"}
        for n, path in enumerate(PATHS)
    ]
    pd.DataFrame(table).to_parquet(images, index=False)
    for n, path in enumerate(PATHS):
        (tmp_path / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (n, 0, 0)).save(tmp_path / "root" / path)
    (out := tmp_path / "out").mkdir()
    write(LabelReader(labels, images).images(), out, Options(image_root=tmp_path / "root", per_object=False))
    for kind in ("boxes", "polygons"):
        listed = (out / kind / "train.txt").read_text().splitlines()
        assert listed == [f"./images/{path}" for path in PATHS]
        for line in listed:
            image = str(out / kind / line.removeprefix("./"))
            found = "/labels/".join(image.rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
            with open(found) as stream:
                assert len(stream.read().splitlines()) == 1


def test_images_are_copies(out, tmp_path):
    (copy,) = (out / "boxes" / "images").rglob("*.jpg")
    copy.write_bytes(b"")
    assert (tmp_path / "images" / "a" / "red & blue #1.jpg").stat().st_size


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such image. Name the folder .* --image-root"):
        exported(write, tmp_path, hard_rows(), image_root=tmp_path)


def test_an_odd_split_makes_no_odd_file(tmp_path):
    out = exported(write, tmp_path, [row("s", 7, [0.0, 0.0, 9.0, 9.0], None, split="../x y")])
    assert (out / "boxes" / ".._x_y.txt").read_text() == "./images/a/red & blue #1.jpg\n"


@given(st.data())
def test_outlines_of_rectangles_cover_them(data):
    height, width = data.draw(st.integers(6, 60)), data.draw(st.integers(6, 60))
    top, left = data.draw(st.integers(0, height - 5)), data.draw(st.integers(0, width - 5))
    bottom, right = data.draw(st.integers(top + 5, height)), data.draw(st.integers(left + 5, width))
    pixels = np.zeros((height, width), bool)
    pixels[top:bottom, left:right] = True
    points = outline(pixels)
    assert iou(drawn(points, width, height), pixels) >= 0.95
    np.testing.assert_allclose([points.min(0), points.max(0)], [[left, top], [right, bottom]])


def test_one_pixel_has_an_outline():
    points = outline(np.pad([[True]], 3))
    assert len(points) == 4
    np.testing.assert_allclose(points.mean(0), [3.5, 3.5])


def test_an_image_with_a_phrase_of_another_split_is_not_trained_on(tmp_path):
    rows = [
        row("a", 9, [1.0, 1.0, 20.0, 20.0], None),
        row("b", 9, [5.0, 5.0, 30.0, 30.0], None, split="val"),
        row("c", 7, [1.0, 1.0, 20.0, 20.0], None),
    ]
    boxes = exported(write, tmp_path, rows, image_root=write_images(tmp_path / "images")) / "boxes"
    assert len((boxes / "train.txt").read_text().splitlines()) == 1
    assert [len(found) for found in read_rows(boxes, "val.txt").values()] == [2]
