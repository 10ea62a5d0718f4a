"""The record that loses nothing."""

import pandas as pd
import pyarrow.parquet as pq

from deixis.exports import parquet
from deixis.exports.parquet import write
from deixis.exports.reading import LabelReader
from deixis.exports.types import Options
from deixis.imaging.masks import decode_mask
from deixis.language.text import normalise
from tests.deixis.exports.labelled import HARD_TEXT, exported, hard_rows, l_shape, ring_and_part, write_tables


def test_everything_comes_back_in_full_precision(tmp_path):
    table = pq.read_table(exported(write, tmp_path, hard_rows()) / "labels.parquet")
    assert b"exclusive right and bottom" in table.schema.metadata[b"bbox_xyxy"]
    first, second, third = table.to_pylist()
    assert first["expression"] == HARD_TEXT
    assert first["text"] == normalise(HARD_TEXT)
    assert first["bbox_xyxy"] == [50.123, 20.0, 90.0, 60.0]
    assert third["bbox_xyxy"] == [-3.5, 1.25, 20.0, 99.875]
    assert (decode_mask(first["mask_rle"]) == l_shape()).all()
    assert (decode_mask(second["mask_rle"]) == ring_and_part()).all()
    assert second["mask_area"] == ring_and_part().sum()
    assert (third["mask_rle"], third["mask_area"]) == (None, None)
    assert (first["score"], first["runner_up_score"]) == (9.25, 9.0)
    assert (first["image_id"], first["image_sha256"], first["licence"]) == ("7", f"{7:064d}", "CC0-1.0")
    assert (first["teacher"], first["checkpoint_sha256"]) == ("dvin", "c0ffee00" * 8)


def test_images_without_licence_and_checksum_are_written(tmp_path):
    labels, images = write_tables(tmp_path / "tables", hard_rows())
    pd.read_parquet(images).assign(licence=["CC0-1.0", None, None], sha256=None).to_parquet(images)
    write(LabelReader(labels, images).images(), tmp_path, Options(image_root=None, per_object=False))
    written = pq.read_table(tmp_path / "labels.parquet").to_pydict()
    assert written["licence"] == ["CC0-1.0", "CC0-1.0", None]
    assert written["image_sha256"] == [None] * 3


def test_rows_of_several_groups_are_there_once_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 4)
    for count in (4, 7):
        rows = [hard_rows()[0] | {"sample_id": f"{number:02d}"} for number in range(count)]
        (folder := tmp_path / str(count)).mkdir()
        file = pq.ParquetFile(exported(write, folder, rows) / "labels.parquet")
        assert file.read()["sample_id"].to_pylist() == [row["sample_id"] for row in rows]
        assert file.metadata.row_group(0).num_rows == 4


def test_what_people_decided_stays_with_the_label(tmp_path):
    rows = [one | {"human": said} for one, said in zip(hard_rows()[:2], ("box", ""), strict=True)]
    assert pq.read_table(exported(write, tmp_path, rows) / "labels.parquet")["human"].to_pylist() == ["box", ""]
