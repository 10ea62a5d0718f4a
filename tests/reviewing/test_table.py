"""The table of decisions: whole round trips, equal bytes for equal decisions, and refusals that name what was found."""

from dataclasses import replace

import pandas as pd
import pytest

from deixis.core.errors import DataError
from reviewing.table import read_decisions, write_decisions
from tests.reviewing.decided import a_decision

MOVED = a_decision(
    expression="die linke Tür", verdict="box", box=(1.5, 2.0, 30.25, 40.1), label_box=None, source="cvat"
)
REFUSED = replace(MOVED, sample_id="a/0", verdict="reject", box=None, label_box=(0.0, 0.0, 3.0, 4.0))


def test_round_trip(tmp_path):
    write_decisions([MOVED, REFUSED], tmp_path / "decisions.parquet")
    assert read_decisions(tmp_path / "decisions.parquet") == [REFUSED, MOVED]
    write_decisions([REFUSED, MOVED], tmp_path / "other.parquet")
    assert (tmp_path / "other.parquet").read_bytes() == (tmp_path / "decisions.parquet").read_bytes()


def test_none_at_all(tmp_path):
    write_decisions([], tmp_path / "decisions.parquet")
    assert read_decisions(tmp_path / "decisions.parquet") == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.drop(columns="who"), "lacks who"),
        (lambda table: pd.concat([table, table]), "is there twice"),
        (lambda table: table.assign(verdict="maybe"), "verdict 'maybe'"),
        (lambda table: table.assign(box=None), "all but reject have a box"),
        (lambda table: table.assign(image_id="seven"), "seven"),
        (lambda table: table.assign(box=[[1.0, 2.0]]), "1.0"),
        (lambda table: table.assign(box=[[5.0, 2.0, 5.0, 4.0]]), "5.0"),
        (lambda table: table.assign(box=[[5.0, 2.0, float("nan"), 4.0]]), "None, 4.0"),
        (lambda table: table.assign(who=[None]), "who"),
    ],
)
def test_another_table_is_refused(tmp_path, spoil, message):
    write_decisions([MOVED], tmp_path / "decisions.parquet")
    spoil(pd.read_parquet(tmp_path / "decisions.parquet")).to_parquet(tmp_path / "decisions.parquet")
    with pytest.raises(DataError, match=message):
        read_decisions(tmp_path / "decisions.parquet")


def test_other_bytes_are_refused(tmp_path):
    (tmp_path / "decisions.parquet").write_text("sample_id,box\n")
    with pytest.raises(DataError, match=r"decisions\.parquet"):
        read_decisions(tmp_path / "decisions.parquet")
    with pytest.raises(DataError, match="Write it with deixis serve"):
        read_decisions(tmp_path / "none.parquet")
