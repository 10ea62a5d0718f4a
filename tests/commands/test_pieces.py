"""Long tables in pieces: nothing lost, nothing twice, neighbours together."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.pieces import ROWS_PER_PIECE, count_pieces, join_pieces, pieces, rows_about, write_piece
from deixis.core.errors import DataError


@given(runs=st.lists(st.integers(1, 300), min_size=1, max_size=12), group=st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_pieces_are_the_whole_table_in_order(tmp_path_factory, runs, group):
    path = tmp_path_factory.mktemp("pieces") / "pairs.parquet"
    ids = [image_id for image_id, count in enumerate(runs) for _ in range(count)]
    table = pa.table({"image_id": ids, "row": list(range(len(ids)))})
    pq.write_table(table, path, row_group_size=group)
    found = list(pieces(path, ["image_id", "row"]))
    assert [row for piece in found for row in piece["row"]] == list(range(len(ids)))
    assert all(piece.index.tolist() == piece["row"].tolist() for piece in found)
    assert all(0 < len(piece) <= 2 * ROWS_PER_PIECE for piece in found)
    assert abs(len(found) - count_pieces(path)) <= len(ids) // group + 2
    short = {image_id for image_id, count in enumerate(runs) if count <= ROWS_PER_PIECE // 2}
    together = [set(piece["image_id"]) & short for piece in found]
    assert sum(map(len, together)) == len(short)  # no picture with few phrases is looked at twice


def test_a_piece_without_masks_joins_one_that_has_some(tmp_path):
    mask = {"size": [2, 2], "counts": "04"}
    for number, (box, found) in enumerate([(None, None), ([0.0, 0.0, 1.0, 2.0], mask)]):
        rows = pd.DataFrame({"sample_id": [str(number)], "box": [box], "mask": [found], "score": [0.5]})
        write_piece(rows, tmp_path / f"{number}.parquet")
    assert join_pieces([tmp_path / "0.parquet", tmp_path / "1.parquet"], tmp_path / "all.parquet") == 2
    whole = pd.read_parquet(tmp_path / "all.parquet")
    assert whole["box"].iloc[0] is None and list(whole["box"].iloc[1]) == [0.0, 0.0, 1.0, 2.0]
    assert whole["mask"].iloc[1]["counts"] == "04"


def test_rows_about_some_images(tmp_path):
    pq.write_table(pa.table({"image_id": [3, 1, 2], "path": ["c", "a", "b"]}), tmp_path / "images.parquet")
    assert rows_about(tmp_path / "images.parquet", [1, 3, 7], ["path"])["path"].tolist() == ["c", "a"]


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"missing. Run: dvc repro prepare"):
        count_pieces(tmp_path / "pairs.parquet")
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"not a whole Parquet file"):
        count_pieces(tmp_path / "pairs.parquet")
