"""Files of many groups: every row once and in order, and in memory never much more than one group."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deixis.core.row_groups import batches_of, open_in_groups, read_columns

ROWS, PER_GROUP = 20_000, 300
TABLE = pa.table(
    {
        "place": pa.array(range(ROWS), pa.int32()),
        "text": [f"the phrase number {row}" * 8 for row in range(ROWS)],
        "kind": pa.array([f"kind {row // 500}" for row in range(ROWS)]).dictionary_encode(),
        "box": pa.array([[row, 2.0, None, 4.0] if row % 7 else None for row in range(ROWS)], pa.list_(pa.float64())),
    }
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("groups") / "table.parquet"
    pq.write_table(TABLE, path, row_group_size=PER_GROUP)
    return path


@pytest.mark.parametrize("rows", [1, 299, 300, 301, 4096])
def test_batches_are_the_rows_in_order(path, rows):
    batches = list(batches_of(open_in_groups(path), rows, ["box", "place"]))
    assert max(map(len, batches)) == min(rows, PER_GROUP)
    read = pa.Table.from_batches(batches)
    assert all(read[name].equals(TABLE[name]) for name in ("place", "box"))


def test_columns_are_whole(path):
    read = read_columns(open_in_groups(path), ["kind", "text", "box"])
    assert read.column_names == ["kind", "text", "box"]
    assert all(read[name].to_pylist() == TABLE[name].to_pylist() for name in read.column_names)
    assert read.schema.field("kind").type == TABLE.schema.field("kind").type


def test_no_row_is_an_empty_table(tmp_path):
    pq.write_table(TABLE.slice(0, 0), tmp_path / "empty.parquet")
    file = open_in_groups(tmp_path / "empty.parquet")
    assert read_columns(file, ["text", "box"]).schema.names == ["text", "box"]
    assert not list(batches_of(file, 10, ["text"]))


def test_one_group_is_held_at_a_time(path):
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in batches_of(open_in_groups(path), 100, TABLE.column_names)]
    assert max(held) < 10 * TABLE.nbytes * PER_GROUP / ROWS
