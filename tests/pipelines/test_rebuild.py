"""The flow under a real Prefect server, on a graph of small stages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deixis.core.errors import ConfigError
from pipelines._prefect import reach_server, refuse_wrong_settings

ROOT = Path(__file__).parents[2]
# `long` ends when `d` is there. `b` needs `long`: a worker that waits for that would leave none for `c` and `d`.
GRAPH = """stages:
  a: {cmd: touch a, outs: [a]}
  long: {cmd: 'for i in $(seq 300); do test -e d && touch long && exit; sleep 0.2; done; exit 1', outs: [long]}
  b: {cmd: touch b, deps: [long], outs: [b]}
  c: {cmd: touch c, deps: [a], outs: [c]}
  d: {cmd: touch d, deps: [c], outs: [d]}
"""
FAILING = """stages:
  a: {cmd: exit 1, outs: [a]}
  b: {cmd: touch b, deps: [a], outs: [b]}
"""


def rebuild(folder: Path, graph: str, **variables: str) -> subprocess.CompletedProcess[str]:
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    (folder / "dvc.yaml").write_text(graph)
    environment = (
        os.environ
        | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
            "PYTHONPATH": str(ROOT),
        }
        | variables
    )
    return subprocess.run(
        [sys.executable, "-m", "pipelines.rebuild", "--workers", "2"], cwd=folder, env=environment, timeout=300,
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_no_worker_waits_for_a_stage_while_another_could_run(tmp_path):
    done = rebuild(tmp_path, GRAPH)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.split()[1::2]) == ["a", "b", "c", "d", "long"]


@pytest.mark.slow
def test_a_failed_stage_ends_the_flow_with_the_command_that_shows_it(tmp_path):
    done = rebuild(tmp_path, FAILING)
    assert done.returncode != 0 and not (tmp_path / "b").exists()
    assert "dvc repro -s a" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "soon", "valid integer"),
        ("PREFECT_LOGGING_LEVEL", "LOUD", "'DEBUG'"),
        ("PREFECT_RESULTS_PERSIST_BY_DEFAULT", "maybe", "valid boolean"),
    ],
)
def test_a_setting_of_a_wrong_type_is_told_by_its_variable(monkeypatch, caplog, name, value, problem):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"^{name} is '{value}': Input should be .*{problem}.*unset it.*dvc repro"):
        refuse_wrong_settings()
    assert not caplog.records


def test_profiles_that_are_damaged_are_told(monkeypatch, tmp_path):
    (tmp_path / "profiles.toml").write_text("[profiles")
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    with pytest.raises(ConfigError, match=r"cannot read its settings .*PREFECT_PROFILES_PATH"):
        refuse_wrong_settings()


@pytest.mark.slow
def test_the_flow_ends_in_one_message_where_a_variable_is_of_a_wrong_type(tmp_path):
    done = rebuild(tmp_path, GRAPH, PREFECT_LOGGING_LEVEL="LOUD")
    assert done.returncode == 2 and done.stderr.startswith("error: PREFECT_LOGGING_LEVEL is 'LOUD'")
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_server_that_does_not_answer_is_told_in_one_message():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        with pytest.raises(
            ConfigError, match=r"PREFECT_API_URL is http://127\.0\.0\.1:9/api: no .*prefect server start"
        ):
            reach_server()


def test_a_home_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with temporary_settings({PREFECT_API_URL: None, PREFECT_HOME: tmp_path / "file/home"}):
        with pytest.raises(ConfigError, match=r"PREFECT_HOME is .*file/home: no folder that can be written"):
            reach_server()
