"""Long tables in parts: nothing lost, nothing twice, neighbours together, and joined as they were."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deixis.core import long_tables
from deixis.core.errors import DataError
from deixis.core.long_tables import (
    are_together,
    join_tables,
    parts_of_images,
    row_batches,
    rows_where,
    write_parts,
)
from deixis.core.records import write_table


@given(runs=st.lists(st.integers(1, 12), min_size=1, max_size=12), group=st.integers(1, 9), rows=st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_parts_are_the_whole_table_in_order_and_no_image_is_parted(tmp_path_factory, runs, group, rows):
    path = tmp_path_factory.mktemp("parts") / "pairs.parquet"
    ids = [image_id for image_id, count in enumerate(runs) for _ in range(count)]
    pq.write_table(pa.table({"image_id": ids, "row": range(len(ids))}), path, row_group_size=group)
    parts = list(parts_of_images(path, ["image_id", "row"], rows=rows, made_by="prepare"))
    assert [row for part in parts for row in part["row"]] == list(range(len(ids)))
    assert sum(part["image_id"].nunique() for part in parts) == len(runs)
    assert all(0 < len(part) <= max(rows, *runs) for part in parts)
    assert len(ids) > rows or len(parts) == 1


@pytest.mark.parametrize(("ids", "together"), [([1, 1, 2], True), ([1, 2, 1], False), ([3], True)])
def test_images_whose_rows_lie_here_and_there_are_told(tmp_path, ids, together):
    write_table(pd.DataFrame({"image_id": ids}), tmp_path / "pairs.parquet")
    assert are_together(tmp_path / "pairs.parquet", made_by="prepare") is together


def test_parts_are_joined_where_one_has_no_mask_and_one_alone_keeps_its_bytes(tmp_path):
    mask = {"size": [2, 2], "counts": "04"}
    tables = [pd.DataFrame({"sample_id": [str(row)], "mask": [drawn]}) for row, drawn in enumerate([None, mask, None])]
    write_parts(tables, tmp_path / "all.parquet")
    assert pd.read_parquet(tmp_path / "all.parquet")["mask"].iloc[1]["counts"] == "04"
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]
    write_table(tables[1], tmp_path / "one.parquet")
    join_tables([tmp_path / "one.parquet"], tmp_path / "joined.parquet")
    assert (tmp_path / "joined.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_rows_that_are_wanted_are_those_of_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(long_tables, "ROWS_AT_ONCE", 2)
    table = pd.DataFrame({"image_id": [1, 2, 3, 4, 5], "split": ["train", "val", "val", "train", "val"]})
    write_table(table, tmp_path / "pairs.parquet")

    def wanted(split: str) -> list[int]:
        path, columns = tmp_path / "pairs.parquet", ("image_id", "split")
        return rows_where(path, columns, lambda rows: rows["split"] == split, made_by="prepare")["image_id"].tolist()

    assert wanted("val") == [2, 3, 5] and wanted("test") == []
    write_table(table[:0], tmp_path / "pairs.parquet")
    assert wanted("val") == []


def test_what_is_no_such_table_is_refused(tmp_path):
    def read(path):
        return list(row_batches(path, ["image_id", "text"], rows=2, made_by="prepare"))

    with pytest.raises(DataError, match=r"missing. It is written by prepare; run: dvc repro prepare"):
        read(tmp_path / "pairs.parquet")
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"not a whole Parquet file"):
        read(tmp_path / "pairs.parquet")
    write_table(pd.DataFrame({"image_id": [1]}), tmp_path / "pairs.parquet")
    with pytest.raises(DataError, match=r"lacks text; has image_id. Run: dvc repro -f prepare"):
        read(tmp_path / "pairs.parquet")
