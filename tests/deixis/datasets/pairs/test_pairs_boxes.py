"""Box conventions: each is read right, and a wrong choice shows."""

import pytest

from deixis.core.errors import ConfigError, DataError
from deixis.datasets.pairs.box_conventions import parse_box, to_corners
from tests.deixis.datasets.pairs.corpora import good_rows, ingest, write_coco, write_jsonl

SAME = {  # corners 6, 4, 18, 16 in an image of 30 x 20
    "xyxy_abs": [6, 4, 18, 16],
    "xywh_abs": [6, 4, 12, 12],
    "cxcywh_norm": [0.4, 0.5, 0.4, 0.6],
    "yxyx_norm": [0.2, 0.2, 0.8, 0.6],
    "xyxy_norm_1000": [200, 200, 600, 800],
}


@pytest.mark.parametrize("convention", SAME)
def test_each_convention_gives_the_same_corners(convention):
    corners, code = to_corners([float(value) for value in SAME[convention]], convention, width=30, height=20)
    assert corners == pytest.approx((6, 4, 18, 16))
    assert code is None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("xywh_abs", "xyxy_abs"), ("cxcywh_norm", "xyxy_abs"), ("xyxy_norm_1000", "yxyx_norm"),
        ("yxyx_norm", "xywh_abs"), ("xyxy_abs", "cxcywh_norm"),
    ],
)  # fmt: skip
def test_a_convention_that_most_boxes_contradict_ends_the_run(tmp_path, written, read):
    raw = tmp_path / "raw"
    rows = [row | {"box": [20, 10, 5, 4] if written == "xywh_abs" else SAME[written]} for row in good_rows(raw, 4)]
    write_jsonl(raw, rows)
    with pytest.raises(DataError, match=f"4 of 4 boxes cannot be {read}.*Allowed.*boxes"):
        ingest(raw, tmp_path / "out", boxes=read)
    assert len(ingest(raw, tmp_path / "out", boxes=written)["truth"]) == 4


def test_boxes_must_be_named_or_left_out(tmp_path):
    raw = tmp_path / "raw"
    write_jsonl(raw, good_rows(raw))
    with pytest.raises(ConfigError, match=r"pairs.jsonl: there are boxes.*xywh_abs.*none"):
        ingest(raw, tmp_path / "out", boxes=None)
    tables = ingest(raw, tmp_path / "out", boxes="none")
    assert (len(tables["pairs"]), len(tables["truth"])) == (6, 0)


def test_cocos_boxes_are_what_coco_says(tmp_path):
    raw = tmp_path / "raw"
    write_coco(raw, good_rows(raw))
    with pytest.raises(ConfigError, match="COCO's boxes are xywh_abs"):
        ingest(raw, tmp_path / "out", boxes="xyxy_abs")


def test_cocos_boxes_that_are_shares_are_told_what_coco_has(tmp_path):
    raw = tmp_path / "raw"
    write_coco(raw, [row | {"box": SAME["cxcywh_norm"]} for row in good_rows(raw, 4)])
    with pytest.raises(DataError, match=r"4 of 4 boxes cannot be xywh_abs.*Allowed in COCO files: left, top, width"):
        ingest(raw, tmp_path / "out", boxes=None)


@pytest.mark.parametrize("written", ["1, 2,3 4", "[1, 2, 3, 4]", "(1;2;3;4)", [1, 2, 3, 4], ["1", "2", "3", "4"]])
def test_boxes_in_cells_of_tables(written):
    assert parse_box(written) == [1, 2, 3, 4]


@pytest.mark.parametrize("nothing", [None, "", " ", [], "[]"])
def test_no_box_is_no_mistake(nothing):
    assert parse_box(nothing) is None
