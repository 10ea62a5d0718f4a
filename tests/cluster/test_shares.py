"""A feature store by several workers, one of whose nodes dies; and a cluster of this machine alone."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipelines._guard import SECONDS_TO_STOP
from tests.cluster.conftest import NO_RAY, ROOT, end_of, kill_node, raylet_of
from tests.pipelines.test_runner import is_there
from tests.waiting import wait_until

pytest.importorskip("ray", reason=NO_RAY)

SHARDS = 12


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def expected(checkout, monkeypatch, tmp_path) -> dict[str, bytes]:
    """What one process makes."""
    (tmp_path / "serial").mkdir()
    monkeypatch.chdir(tmp_path / "serial")
    monkeypatch.syspath_prepend(str(checkout))
    import made_up

    made_up.made_up(out=Path("store"))
    monkeypatch.delitem(sys.modules, "made_up")
    assert len(list(Path("store").glob("*.npy"))) == SHARDS
    return contents(Path("store"))


def shards_begun(checkout: Path) -> list[tuple[str, list[int]]]:
    """First image of every shard that was begun, and the processes above whoever began it."""
    lines = (
        [line.split() for line in (checkout / "log").read_text().splitlines()] if (checkout / "log").exists() else []
    )
    return [(first, list(map(int, pids))) for first, *pids in lines]


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_makes_the_same_store(checkout, expected, start, workers):
    code, _, err = end_of(start("made_up", "--out", "store", DEIXIS_PIECES=str(workers)))
    assert code == 0, err
    assert contents(checkout / "store") == expected
    assert err.count("published") == 1 and err.count(f"of {workers} is done") == (workers if workers > 1 else 0)
    begun = shards_begun(checkout)
    assert len(begun) == SHARDS and len({pids[0] for _, pids in begun}) == workers


def test_a_node_that_dies_costs_each_of_its_workers_one_shard(cluster, checkout, expected, start):
    node = cluster.add_node(num_cpus=4, num_gpus=4)
    doomed = raylet_of(node)
    launcher = start(
        "made_up", "--out", "store", DEIXIS_PIECES="4", SECONDS_PER_SHARD="1"
    )  # fmt: skip
    wait_until(lambda: any(doomed in pids for _, pids in shards_begun(checkout)))
    kill_node(cluster, node)
    code, _, err = end_of(launcher)
    assert code == 0, err
    assert "begins again" in err and err.count("of 4 is done") == 4
    assert contents(checkout / "store") == expected
    begun = Counter(first for first, _ in shards_begun(checkout))
    assert len(begun) == SHARDS
    assert 1 <= begun.total() - SHARDS <= 4


def test_a_stage_that_finds_the_variable_goes_to_this_machine_and_ends_with_its_launcher(checkout, start):
    """By `run_stage`, as under DVC."""
    (checkout / "dvc.yaml").write_text("stages: {made_up: {cmd: python -m made_up, meta: {gpus: auto, pieces: true}}}")
    environment = os.environ | {"DEIXIS_CLUSTER": "local", "PYTHONPATH": str(ROOT), "SECONDS_PER_SHARD": "100"}
    launcher = subprocess.Popen(
        [sys.executable, "-m", "made_up", "--out", "store"], cwd=checkout, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: bool(shards_begun(checkout)))
        above = shards_begun(checkout)[0][1]
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    finally:
        launcher.kill()
        launcher.wait()
    own = {*above[: above.index(launcher.pid)], *map(int, children)}
    assert len(own) > 5  # stage, guard, shell, worker, and Ray's own
    wait_until(lambda: not any(map(is_there, own)), SECONDS_TO_STOP + 10)
