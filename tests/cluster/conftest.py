"""A cluster of two nodes with four GPUs each, as far as Ray can tell, and a checkout with stages that it may run.

Two more nodes come and go: where a test needs one, it asks for more GPUs than the others have.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NO_RAY = "Ray comes with an extra: uv run --extra cluster pytest -n0 tests/cluster"
ROOT = Path(__file__).parents[2]
PATIENT = {  # a machine that is busy answers late, and lives
    "health_check_initial_delay_ms": 5000, "health_check_period_ms": 1000, "health_check_timeout_ms": 20000,
    "health_check_failure_threshold": 5,
}  # fmt: skip
GRAPH = """stages:
  sleep: {cmd: python -m sleeper, meta: {gpus: 1}}
  sleep_alone: {cmd: python -m sleeper, meta: {gpus: 8}}
  sleep_nowhere: {cmd: python -m sleeper, meta: {gpus: 99, memory: 3GB}}
  made_up: {cmd: python -m made_up, meta: {gpus: 1, pieces: true}}
"""
SECONDS = 60


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 4, "num_gpus": 4, "include_dashboard": False, "_system_config": PATIENT}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    nodes.add_node(num_cpus=4, num_gpus=4)
    yield nodes
    nodes.shutdown()


def kill_node(cluster: Any, node: Any) -> None:
    """Kill it, and wait until the others know."""
    cluster.remove_node(node, allow_graceful=False)
    cluster.wait_for_nodes()


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder with the stages of tests/cluster/programs."""
    folder = tmp_path / "checkout"
    shutil.copytree(Path(__file__).parent / "programs", folder)
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / "began").mkdir()
    return folder


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(checkout, request) -> Iterator[Start]:
    """Start a stage on the cluster, or on another address; whatever runs yet at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(
        *arguments: str, stage: str | None = None, address: str | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        address = address or request.getfixturevalue("cluster").address
        variables |= {"DEIXIS_CLUSTER": address, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        variables |= {"DVC_STAGE": stage} if stage else {}
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cluster", *arguments], cwd=checkout, env=os.environ | variables,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code and output."""
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def raylet_of(node: Any) -> int:
    """Number of the process that leads a node; all bodies on it descend from it."""
    return node.all_processes["raylet"][0].process.pid
