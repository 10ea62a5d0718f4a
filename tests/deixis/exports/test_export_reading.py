"""What is exported and what is not, in what order, and what a damaged table is told."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from deixis.core.errors import DataError
from deixis.exports import rows as rows_module
from deixis.exports.reading import LabelReader
from tests.deixis.exports.labelled import hard_rows, l_shape, row, write_tables


def samples(reader: LabelReader) -> list[tuple[int | str, list[str]]]:
    return [
        (labelled.image.image_id, [sample for label in labelled.labels for sample in label.sample_ids])
        for labelled in reader.images()
    ]


def test_only_accepted_labels_by_default_and_the_rest_is_counted(tmp_path):
    tables = write_tables(tmp_path, hard_rows())
    reader = LabelReader(*tables, min_score=0.0)
    assert samples(reader) == [(7, ["s/1"]), (8, ["s/3"])]
    assert str(reader.tally) == "2 labels written; left out: 1 not accepted, 1 below --min-score"
    assert samples(LabelReader(*tables, everything=True)) == [(7, ["s/1", "s/2"]), (8, ["s/3"]), (9, ["s/4"])]


def test_boxes_are_cut_at_the_image_and_kept_as_they_were(tmp_path):
    *_, third = LabelReader(*write_tables(tmp_path, hard_rows())).images()
    assert third.labels[0].box_xyxy == (0.0, 1.25, 20.0, 99.875)
    assert third.labels[0].raw_box_xyxy == (-3.5, 1.25, 20.0, 99.875)


@pytest.mark.parametrize("box", [None, [95.0, 1.0, 99.0, 5.0], [5.0, 5.0, 5.0, 9.0], [float("nan"), 0.0, 3.0, 3.0]])
def test_labels_without_a_box_in_the_image_are_left_out_and_counted(tmp_path, box):
    reader = LabelReader(*write_tables(tmp_path, [row("s/1", 7, box, None), row("s/2", 7, [0.0, 0.0, 1.0, 1.0], None)]))
    assert samples(reader) == [(7, ["s/2"])]
    assert reader.tally.without_box == 1


@pytest.mark.parametrize("rows_per_bucket", [2, 65536])
def test_scattered_rows_come_image_by_image(tmp_path, monkeypatch, rows_per_bucket):
    monkeypatch.setattr(rows_module, "ROWS_PER_BUCKET", rows_per_bucket)
    monkeypatch.setattr(rows_module, "ROWS_AT_ONCE", 2)
    order = [9, 7, 8, 7, 9, 8, 7]
    scattered = [row(f"s/{place}", image, [0.0, 0.0, 9.0, 9.0], None) for place, image in enumerate(order)]
    read = samples(LabelReader(*write_tables(tmp_path, scattered)))
    assert read == [(7, ["s/1", "s/3", "s/6"]), (8, ["s/2", "s/5"]), (9, ["s/0", "s/4"])]


def test_an_empty_mask_is_none(tmp_path):
    (labelled,) = LabelReader(*write_tables(tmp_path, [row("s", 7, [0.0, 0.0, 9.0, 9.0], l_shape() & False)])).images()
    assert labelled.labels[0].mask is None


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    def peak(count: int) -> int:
        mask = np.random.default_rng(0).random((60, 90)) < 0.5  # a code of some kilobytes
        images = np.repeat([7, 9], count // 2).tolist()
        made = [row(f"s/{n}", image, [0.0, 0.0, 9.0, 9.0], mask) for n, image in enumerate(images)]
        reader = LabelReader(*write_tables(tmp_path / str(count), made))
        tracemalloc.start()
        for _ in reader._rows.by_image():
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(8_000) < 1.3 * peak(2_000)


def test_phrases_of_one_object_come_together_as_the_best_scored_one(tmp_path):
    box, other = [0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 8.0, 8.0]
    made = [row("s/1", 7, box, None), row("s/2", 7, other, None, score=3.0), row("s/3", 7, box, None)]
    made.append(row("s/4", 7, box, None))
    pairs = pd.DataFrame({"sample_id": ["s/1", "s/2", "s/3", "s/4"], "ref_id": [4, 4, None, None]})
    pairs.to_parquet(tmp_path / "pairs.parquet")
    reader = LabelReader(*write_tables(tmp_path, made), pairs=tmp_path / "pairs.parquet")
    (labelled,) = reader.images()
    assert [label.sample_ids for label in labelled.labels] == [("s/1", "s/2"), ("s/3",), ("s/4",)]
    assert [label.group_id for label in labelled.labels] == ["4", None, None]
    assert labelled.labels[0].box_xyxy == tuple(other)
    assert labelled.labels[0].expressions == ("phrase of s/1", "phrase of s/2")
    assert reader.tally.written == 3


def test_an_object_with_an_accepted_phrase_is_accepted(tmp_path):
    box = [0.0, 0.0, 9.0, 9.0]
    made = [row("s/1", 7, box, None, score=3.0, accept=False), row("s/2", 7, box, None)]
    pd.DataFrame({"sample_id": ["s/1", "s/2"], "ref_id": [4, 4]}).to_parquet(tmp_path / "pairs.parquet")
    tables = write_tables(tmp_path, made)
    (labelled,) = LabelReader(*tables, pairs=tmp_path / "pairs.parquet", everything=True).images()
    (label,) = labelled.labels
    assert label.accept and label.score == 1.5 and label.sample_ids == ("s/1", "s/2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 99}, r"image 99 is not in .*images.parquet"),
        ({"score": float("nan")}, r"score of s/1 is (nan|None); allowed: any finite number"),
        ({"image_id": 8}, r"mask of s/1 has 90 x 60 pixels and its image 40 x 100"),
    ],
)
def test_rows_that_cannot_be_right_are_refused(tmp_path, changes, message):
    tables = write_tables(tmp_path, [row("s/1", 7, [0.0, 0.0, 9.0, 9.0], l_shape()) | changes])
    with pytest.raises(DataError, match=message):
        list(LabelReader(*tables).images())


def test_files_that_are_no_labels_are_refused(tmp_path):
    labels, images = write_tables(tmp_path, hard_rows())
    with pytest.raises(DataError, match=r"lacks sample_id.*has image_id, path"):
        LabelReader(images, images)
    labels.write_bytes(labels.read_bytes()[:-40])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        LabelReader(labels, images)
    with pytest.raises(DataError, match=r"none\.parquet: missing\. Allowed: labels\.parquet .*dvc repro segment_boxes"):
        LabelReader(tmp_path / "none.parquet", images)
    with pytest.raises(DataError, match=r"none\.parquet: missing\. Allowed: the images\.parquet .*--images"):
        LabelReader(labels, tmp_path / "none.parquet")
    pd.concat([pd.read_parquet(images)] * 2).to_parquet(images)
    with pytest.raises(DataError, match="image 7 stands there twice"):
        LabelReader(write_tables(tmp_path / "b", hard_rows())[0], images)
