"""The flow under a real Prefect server, on a graph of small stages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deixis.core.errors import ConfigError
from tests.dvc_folder import init_dvc

ROOT = Path(__file__).parents[2]
# `long` ends when `d` is there. `b` needs `long`: a worker that waits for that would leave none for `c` and `d`.
GRAPH = """stages:
  a: {cmd: touch a, outs: [a]}
  long: {cmd: 'for i in $(seq 300); do test -e d && touch long && exit; sleep 0.2; done; exit 1', outs: [long]}
  b: {cmd: touch b, deps: [long], outs: [b]}
  c: {cmd: touch c, deps: [a], outs: [c]}
  d: {cmd: touch d, deps: [c], outs: [d]}
  fails: {cmd: exit 1, deps: [b, d], outs: [nothing]}
  after: {cmd: touch after, deps: [nothing], outs: [after]}
"""


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Where the flow ran, and how it ended; once, since the server takes ten seconds."""
    folder = tmp_path_factory.mktemp("rebuild")
    init_dvc(folder)
    (folder / "dvc.yaml").write_text(GRAPH)
    environment = os.environ | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.rebuild", "--workers", "2"], cwd=folder, env=environment, timeout=300,
        capture_output=True, text=True,
    )  # fmt: skip
    return folder, done


@pytest.mark.slow
def test_no_worker_waits_for_a_stage_while_another_could_run(rebuilt):
    folder, done = rebuilt
    assert {path.name for path in folder.iterdir()} >= {"a", "b", "c", "d", "long"}, done.stderr[-3000:]


@pytest.mark.slow
def test_a_failed_stage_ends_the_flow_with_the_command_that_shows_it(rebuilt):
    folder, done = rebuilt
    assert done.returncode != 0 and not (folder / "after").exists()
    assert "dvc repro -s fails" in done.stderr


def test_a_server_that_does_not_answer_is_told_in_one_message():
    from prefect.settings import PREFECT_API_URL, temporary_settings  # a second, which other processes need not pay

    from pipelines._prefect import reach_server

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        with pytest.raises(
            ConfigError, match=r"PREFECT_API_URL is http://127\.0\.0\.1:9/api: no .*prefect server start"
        ):
            reach_server()


def test_a_home_that_cannot_be_written_is_told(tmp_path):
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    from pipelines._prefect import reach_server

    (tmp_path / "file").touch()
    with temporary_settings({PREFECT_API_URL: None, PREFECT_HOME: tmp_path / "file/home"}):
        with pytest.raises(ConfigError, match=r"PREFECT_HOME is .*file/home: no folder that can be written"):
            reach_server()
