"""The benchmark of a card, on a processor with networks that take no time."""

import ast
import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, timing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(monkeypatch, tmp_path, *options):
    monkeypatch.chdir(tmp_path)
    tiny = [
        "--small",
        "--device",
        "cpu",
        "--batch",
        "4",
        "--spend",
        "0",
        "--blocks",
        "1",
        "--out",
        "gpu.json",
        *options,
    ]
    monkeypatch.setattr("sys.argv", ["gpu", *tiny])
    gpu.main()
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]
    return json.loads((tmp_path / "gpu.json").read_text())


def test_every_row_is_measured_and_the_machine_named(monkeypatch, tmp_path):
    found = run(monkeypatch, tmp_path, "--machine", "two cores")
    assert found.pop("meta")["machine"] == "two cores"
    assert len([name for name in found if name.startswith("extraction")]) == 5
    for name, row in found.items():
        assert row and all(math.isfinite(value) and value > 0 for value in row.values()), name
    assert {"refclip step", "dvin step, whole images", "dvin answers, batch 4", "transvg step", "masks"} <= found.keys()


def test_a_row_begun_too_late_and_one_without_memory_say_so(tmp_path):
    rows = timing.Rows({}, seconds=60, out=tmp_path / "rows.json")

    def too_large():
        raise torch.OutOfMemoryError

    rows.add("large", too_large)
    late = timing.Rows({}, seconds=-1, out=tmp_path / "late.json")
    late.add("late", too_large)
    assert json.loads((tmp_path / "rows.json").read_text())["large"] == {"left_out": "out of memory"}
    assert json.loads((tmp_path / "late.json").read_text())["late"] == {"left_out": "time is up"}


def test_it_loads_neither_dvc_nor_prefect():
    """A machine with a card is a bare one; modules load what their top level imports, and what that imports."""
    reached, todo = set(), ["benchmarks.gpu"]
    while todo:
        module = todo.pop()
        path = ROOT / (module.replace(".", "/") + ".py")
        if module in reached or not path.exists():
            reached.add(module)
            continue
        reached.add(module)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                todo.append(node.module)
            elif isinstance(node, ast.Import):
                todo += [name.name for name in node.names]
    foreign = {module.split(".")[0] for module in reached}
    assert {"torch", "pandas", "deixis"} <= foreign
    assert not foreign & {"dvc", "prefect", "cyclopts", "ray", "fastapi"}
