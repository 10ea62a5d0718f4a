"""The benchmark of steps, with networks that take no time."""

import json

import pytest

from benchmarks import steps

pytestmark = pytest.mark.slow


def test_small_steps_are_timed_in_turns_and_their_operations_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["steps", "--small", "--repeats", "1", "--images", "2", "--phrases", "2", "--out", "steps.json"]
    )
    steps.main()
    rows = json.loads((tmp_path / "steps.json").read_text())
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]) == 1 + len(rows) == 10
    for name, row in rows.items():
        assert min(row.values()) > 0, name
        assert row["gflop ours"] < row["gflop released"], name
    assert (
        rows["refclip step, 4 phrases"]["gflop ratio"] < rows["refclip step on whole images, 4 phrases"]["gflop ratio"]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["steps.json"]
