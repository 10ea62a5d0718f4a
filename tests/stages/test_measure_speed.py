"""Which stored boxes a ranking student is timed with."""

from pathlib import Path

import pytest

from deixis.core.records import write_json
from stages.measure_speed import stored_candidates


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({"supervision": "dvin", "candidates": "detections"}, "labels/dvin/candidates.parquet"),
        ({"supervision": "dvin", "candidates": "annotations"}, "prepared/objects.parquet"),
        ({"supervision": "truth", "candidates": "annotations"}, "prepared/objects.parquet"),
    ],
)
def test_a_student_is_timed_with_the_boxes_that_it_learned_with(tmp_path, card, expected):
    write_json(card, tmp_path / "config.json")
    found = stored_candidates(tmp_path, Path("prepared"), Path("labels"))
    assert found.path == Path(expected) and found.source == card["candidates"]
