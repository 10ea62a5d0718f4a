"""Truth as the person: what is decided about labels, and what an order that finds the wrong ones wins."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.active_order import decided, gains
from reviewing.table import read_decisions, write_decisions

TRUE, OTHER = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]


def labels(count: int) -> pd.DataFrame:
    """The wrong third has the smallest margins."""
    wrong = np.arange(count) % 3 == 0
    return pd.DataFrame({
        "sample_id": [f"s/{row}" for row in range(count)], "image_id": np.arange(count), "expression": "ball",
        "box": [OTHER if is_wrong else TRUE for is_wrong in wrong], "true": [TRUE] * count, "right": ~wrong,
        "margin": np.where(wrong, 0.1, 1.0), "teacher": "dvin", "checkpoint_sha256": "0" * 64,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("mistakes", "verdicts"), [(0.0, ["box", "accept", "accept"]), (1.0, ["accept", "reject", "reject"])]
)
def test_what_truth_decides(tmp_path, mistakes, verdicts):
    write_decisions(decided(labels(3), mistakes=mistakes), tmp_path / "decisions.parquet")
    read = read_decisions(tmp_path / "decisions.parquet")
    assert [one.verdict for one in read] == verdicts
    if not mistakes:
        assert all(one.box == tuple(TRUE) for one in read)


def test_an_order_that_finds_the_wrong_ones_wins_what_can_be_won():
    """Of 300 labels 100 are wrong: the first 30 are all wrong, and a random 30 hold 10."""
    row = gains(labels(300), share=0.1, mistakes=0.0)
    assert (row["wrong"], row["of those looked at"], row["right ones per 100 decisions"]) == (33.3, 100.0, 66.7)
    assert row["gain"].startswith("6.7 [") and row["by crowding"].startswith("0.0 [")


def test_a_person_who_always_errs_spoils_fewer_where_wrong_ones_come_first():
    row = gains(labels(300), share=0.1, mistakes=1.0)
    assert row["gain"].startswith("6.7 [")  # of the random 30 labels 20 were right
