"""Every class of bad row gets its code, and none takes a valid row with it."""

import json
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deixis.datasets.quarantine import Code
from tests.deixis.datasets.pairs.corpora import BAD, codes, good_rows, image, ingest, write_jsonl


def write_lines(raw, lines: list[bytes]) -> None:
    (raw / "pairs.jsonl").write_bytes(b"\n".join(lines))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_listed_with_its_code_and_valid_rows_survive(tmp_path, kind):
    raw = tmp_path / "raw"
    good = [json.dumps(row).encode() for row in good_rows(raw, 4)]
    bad = BAD[kind]
    write_lines(raw, [*good[:2], bad.make(raw, 0), *good[2:]])
    tables = ingest(raw, tmp_path / "out")
    assert codes(tables) == [bad.code]
    assert tables["quarantine"]["line"].tolist() == [2]
    survivors = set(tables["pairs"]["sample_id"])
    assert {f"mine/good-{number}" for number in range(4)} <= survivors
    assert ("mine/bad-0" in survivors) == bad.survives


def test_there_are_forty_classes_and_more():
    assert len(BAD) >= 40
    assert {bad.code for bad in BAD.values()} <= set(get_args(Code))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.lists(st.sampled_from(sorted(BAD)), max_size=12),
    good=st.integers(1, 8),
    order=st.randoms(use_true_random=False),
)
def test_every_valid_row_survives_among_bad_ones(tmp_path_factory, kinds, good, order):
    raw = tmp_path_factory.mktemp("corpus") / "raw"
    rows = good_rows(raw, good)
    expected = [row["id"] for row in rows]
    lines = [json.dumps(row).encode() for row in rows[1:]]
    for number, kind in enumerate(kinds):
        lines.append(BAD[kind].make(raw, number))
        expected += [f"bad-{number}"] * BAD[kind].survives
    order.shuffle(lines)
    write_lines(raw, [json.dumps(rows[0]).encode(), *lines])  # first: what repeats must come second
    tables = ingest(raw, raw.parent / "out")
    assert sorted(tables["pairs"]["sample_id"]) == sorted(f"mine/{name}" for name in expected)
    # "Nowhere" is one image however many rows name it, and is then listed once.
    assert set(codes(tables)) == {BAD[kind].code for kind in kinds} | (
        {"W_DUP_TEXT"} if kinds.count("phrase twice") > 1 else set()
    )
    assert len(tables["quarantine"]) <= len(kinds)


def test_an_image_in_two_splits_stays_where_it_is_evaluated(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 4)
    rows[2] |= {"image": "good1.png", "split": "val"}
    (raw / "images" / "copy.png").write_bytes((raw / "images" / "good3.png").read_bytes())
    rows.append(rows[3] | {"id": "good-4", "image": "copy.png", "split": "test", "text": "another"})
    write_jsonl(raw, rows)
    tables = ingest(raw, tmp_path / "out")
    assert codes(tables) == ["E_SPLIT_OVERLAP", "E_SPLIT_OVERLAP", "W_IMG_DUP"]
    splits = dict(tables["pairs"][["sample_id", "split"]].itertuples(index=False))
    assert splits == {"mine/good-0": "train", "mine/good-2": "val", "mine/good-4": "test"}


def test_one_empty_phrase_of_several_leaves_the_others(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 1)
    rows[0]["text"] = ["red ball", "", "the ball"]
    write_jsonl(raw, rows)
    tables = ingest(raw, tmp_path / "out")
    assert codes(tables) == ["E_TEXT_EMPTY"]
    assert tables["pairs"]["sample_id"].tolist() == ["mine/good-0/0", "mine/good-0/2"]


def test_an_unusable_box_does_not_count_as_missing_too(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 3)
    rows[1] |= {"split": "val", "box": [1, 2]}
    rows[2] |= {"split": "val", "box": [5, 5, 5, 9]}
    write_jsonl(raw, rows)
    tables = ingest(raw, tmp_path / "out")
    assert codes(tables) == ["E_BOX_BROKEN", "E_BOX_DEGENERATE"]
    assert tables["pairs"]["sample_id"].tolist() == ["mine/good-0"]


def test_a_size_that_is_not_the_images_refuses_it(tmp_path):
    raw = tmp_path / "raw"
    image(raw / "images" / "a.png", 0)
    image(raw / "images" / "b.png", 1)
    images = [{"id": 1, "file_name": "a.png", "width": 31, "height": 20}, {"id": 2, "file_name": "b.png"}]
    notes = [{"id": n, "image_id": n, "caption": f"ball {n}", "bbox": [1, 1, 4, 4]} for n in (1, 2)]
    (raw / "pairs.json").write_text(json.dumps({"images": images, "annotations": notes}))
    tables = ingest(raw, tmp_path / "out", boxes=None)
    assert codes(tables) == ["E_IMG_SIZE"]
    assert tables["pairs"]["sample_id"].tolist() == ["mine/2"]
