"""Masks as run-length codes: round trip, unions of parts, broken parts, and overlap."""

import json

import numpy as np
import pytest

from deixis.imaging.masks import area, decode_mask, encode_mask, mask_overlap, polygons_to_rle

SIZE = {"height": 20, "width": 30}


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[top:bottom, left:right] = True
    return mask


def corners(left: int, top: int, right: int, bottom: int) -> list[int]:
    return [left, top, right, top, right, bottom, left, bottom]


@pytest.mark.parametrize("seed", range(20))
def test_round_trip(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    mask = rng.random((height, width)) < rng.choice([0.0, 0.05, 0.5, 0.95, 1.0])
    rle = json.loads(json.dumps(encode_mask(mask)))
    assert rle["size"] == [height, width]
    back = decode_mask(rle)
    assert back.dtype == bool and np.array_equal(back, mask)
    assert area(rle) == mask.sum()


def test_round_trip_of_an_l_shape_at_the_edge_of_a_mask_in_row_order():
    mask = rectangle(20, 5, 30, 20) & ~rectangle(20, 5, 25, 15)
    for layout in (mask, np.asfortranarray(mask), mask[::-1][::-1]):
        assert np.array_equal(decode_mask(encode_mask(layout)), mask)


def test_code_is_column_major_and_begins_with_background():
    listed = {"size": [2, 3], "counts": [2, 1, 3]}
    expected = np.array([[False, True, False], [False, False, False]])
    rle = polygons_to_rle(listed, height=2, width=3)
    assert np.array_equal(decode_mask(rle), expected)
    assert encode_mask(expected) == rle and isinstance(rle["counts"], str)


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([corners(2, 3, 12, 13)], rectangle(2, 3, 12, 13)),
        ([corners(2, 3, 12, 13), corners(7, 8, 17, 18)], rectangle(2, 3, 12, 13) | rectangle(7, 8, 17, 18)),
        ([corners(2, 3, 12, 13)] * 3, rectangle(2, 3, 12, 13)),
        ([corners(0, 0, 5, 5), corners(20, 10, 30, 20)], rectangle(0, 0, 5, 5) | rectangle(20, 10, 30, 20)),
        ([[1, 2, 3, 4], corners(2, 3, 12, 13), []], rectangle(2, 3, 12, 13)),
        ([[1, 2, 3, 4]], rectangle(0, 0, 0, 0)),
        ([], rectangle(0, 0, 0, 0)),
    ],
    ids=[
        "one polygon", "overlap counted once", "same part thrice", "parts apart", "short parts dropped",
        "nothing but short parts", "no part",
    ],
)  # fmt: skip
def test_polygons(segmentation, expected):
    rle = polygons_to_rle(segmentation, **SIZE)
    assert rle["size"] == [20, 30]
    assert np.array_equal(decode_mask(rle), expected)


def test_union_of_overlapping_parts_has_the_area_of_the_union():
    rle = polygons_to_rle([corners(0, 0, 10, 10), corners(5, 5, 15, 15)], **SIZE)
    assert decode_mask(rle).sum() == 175
    assert mask_overlap(rle, rle) == (175, 175)


@pytest.mark.parametrize("kind", ["one code", "list of codes", "counts as list", "code beside polygon"])
def test_codes_as_segmentation(kind):
    first, second = rectangle(2, 3, 12, 13), rectangle(7, 8, 17, 18)
    column_major = first.flatten("F").astype(int)
    runs = np.diff(np.r_[0, np.flatnonzero(np.diff(column_major)) + 1, column_major.size]).tolist()
    parts = {
        "one code": encode_mask(first | second),
        "list of codes": [encode_mask(first), encode_mask(second)],
        "counts as list": [{"size": [20, 30], "counts": runs}, encode_mask(second)],
        "code beside polygon": [encode_mask(first), corners(7, 8, 17, 18)],
    }[kind]
    assert np.array_equal(decode_mask(polygons_to_rle(parts, **SIZE)), first | second)


def test_a_polygon_beyond_the_image_is_cut_at_its_edge():
    assert np.array_equal(decode_mask(polygons_to_rle([corners(-5, -5, 8, 40)], **SIZE)), rectangle(0, 0, 8, 20))


NOTHING, SOME = rectangle(0, 0, 0, 0), rectangle(0, 0, 10, 10)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (SOME, SOME, (100, 100)),
        (rectangle(5, 5, 15, 15), SOME, (25, 175)),
        (rectangle(20, 0, 30, 10), SOME, (0, 200)),
        (rectangle(2, 2, 4, 4), SOME, (4, 100)),
        (NOTHING, SOME, (0, 100)),
        (None, SOME, (0, 100)),
        (SOME, NOTHING, (0, 100)),
        (NOTHING, NOTHING, (0, 0)),
        (None, NOTHING, (0, 0)),
    ],
    ids=["equal", "corner", "apart", "inside", "empty", "missing", "empty truth", "both empty", "missing and empty"],
)
def test_overlap(predicted, truth, expected):
    assert mask_overlap(None if predicted is None else encode_mask(predicted), encode_mask(truth)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_overlap_equals_counting_pixels(seed):
    predicted, truth = np.random.default_rng(seed).random((2, 20, 30)) < 0.4
    counted = (int((predicted & truth).sum()), int((predicted | truth).sum()))
    assert mask_overlap(encode_mask(predicted), encode_mask(truth)) == counted


def test_overlap_takes_codes_read_back_from_a_table():
    rle = encode_mask(SOME)
    stored = {"size": np.array(rle["size"], np.int64), "counts": rle["counts"]}
    assert mask_overlap(stored, rle) == (100, 100)
    assert np.array_equal(decode_mask(stored), SOME)
