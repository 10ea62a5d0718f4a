"""Long tables in chunks: nothing lost, nothing twice, neighbours together."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.chunks import ROWS_PER_CHUNK, chunks, count_chunks, join_chunks, rows_about, write_chunk
from deixis.core.errors import DataError


@given(runs=st.lists(st.integers(1, 300), min_size=1, max_size=12), group=st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_chunks_are_the_whole_table_in_order(tmp_path_factory, runs, group):
    path = tmp_path_factory.mktemp("chunks") / "pairs.parquet"
    ids = [image_id for image_id, count in enumerate(runs) for _ in range(count)]
    table = pa.table({"image_id": ids, "row": list(range(len(ids)))})
    pq.write_table(table, path, row_group_size=group)
    parts = list(chunks(path, ["image_id", "row"]))
    assert [row for chunk in parts for row in chunk["row"]] == list(range(len(ids)))
    assert all(chunk.index.tolist() == chunk["row"].tolist() for chunk in parts)
    assert all(0 < len(chunk) <= 2 * ROWS_PER_CHUNK for chunk in parts)
    assert abs(len(parts) - count_chunks(path)) <= len(ids) // group + 2
    short = {image_id for image_id, count in enumerate(runs) if count <= ROWS_PER_CHUNK // 2}
    together = [set(chunk["image_id"]) & short for chunk in parts]
    assert sum(map(len, together)) == len(short)  # no image with few phrases is looked at twice


def test_a_chunk_without_masks_joins_one_that_has_some(tmp_path):
    mask = {"size": [2, 2], "counts": "04"}
    for number, (box, mask_here) in enumerate([(None, None), ([0.0, 0.0, 1.0, 2.0], mask)]):
        rows = pd.DataFrame({"sample_id": [str(number)], "box": [box], "mask": [mask_here], "score": [0.5]})
        write_chunk(rows, tmp_path / f"{number}.parquet")
    assert join_chunks([tmp_path / "0.parquet", tmp_path / "1.parquet"], tmp_path / "all.parquet") == 2
    whole = pd.read_parquet(tmp_path / "all.parquet")
    assert whole["box"].iloc[0] is None and list(whole["box"].iloc[1]) == [0.0, 0.0, 1.0, 2.0]
    assert whole["mask"].iloc[1]["counts"] == "04"


def test_rows_about_some_images(tmp_path):
    pq.write_table(pa.table({"image_id": [3, 1, 2], "path": ["c", "a", "b"]}), tmp_path / "images.parquet")
    assert rows_about(tmp_path / "images.parquet", [1, 3, 7], ["path"])["path"].tolist() == ["c", "a"]


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"missing. .*; run: dvc repro prepare"):
        count_chunks(tmp_path / "pairs.parquet")
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"not a whole Parquet file"):
        count_chunks(tmp_path / "pairs.parquet")
