"""The flow under a real Prefect server, on graphs of small stages."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from benchmarks.local_prefect import end
from tests.pipelines.checkouts import ROOT, commands, init

# `long` ends when `d` is there. `b` needs `long`: a worker that waits for that would leave none for `c` and `d`.
# `a` is killed once, and `c` asks twice for another attempt.
GRAPH = """stages:
  list_code: {cmd: cp code listed, deps: [code], outs: [listed]}
  a: {cmd: 'test -e killed || { touch killed; kill -9 $$; }; touch a', outs: [a]}
  long: {cmd: 'for i in $(seq 900); do test -e d && touch long && exit; sleep 0.2; done; exit 1', outs: [long]}
  b: {cmd: touch b, deps: [long, listed], outs: [b]}
  c: {cmd: 'echo >> tries; test $(wc -l < tries) -ge 3 || exit 75; cp a c', deps: [a], outs: [c]}
  d: {cmd: cat c setting > d, deps: [c, setting], outs: [d]}
"""
FAILING = """stages:
  a: {cmd: exit 1, outs: [a]}
  b: {cmd: touch b, deps: [a], outs: [b]}
"""


def start_checkout(folder: Path, graph: str) -> Path:
    init(folder, graph)
    for name in ("code", "setting"):
        (folder / name).write_text("1")
    return folder


def run(folder: Path, server: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=server, timeout=300, capture_output=True, text=True
    )


def rebuild(folder: Path, server: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run(folder, server, "-m", "pipelines.rebuild", "--workers", "2")


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def built(tmp_path_factory, server) -> Path:
    """A checkout that one flow has brought up to date, two of its stages at a later attempt."""
    folder = start_checkout(tmp_path_factory.mktemp("flow") / "checkout", GRAPH)
    flow = "from pipelines.flow import rebuild; rebuild(workers=2, waits=(0.1, 0.1, 0.1))"
    done = run(folder, server, "-c", flow)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_no_worker_waits_for_a_stage_while_another_could_run(built):
    assert {"a", "b", "c", "d", "long"} <= {path.name for path in built.iterdir()}


@pytest.mark.slow
def test_what_can_pass_later_is_tried_again(built):
    assert (built / "a").exists() and (built / "killed").exists()
    assert (built / "c").exists() and len((built / "tries").read_text().splitlines()) == 3


@pytest.mark.slow
def test_a_flow_with_nothing_to_do_costs_little_more_than_dvc(built, server):
    before = processor_seconds()
    assert rebuild(built, server).stdout == "up to date\n"
    flow = processor_seconds() - before
    run(built, server, "-m", "dvc", "repro")
    assert flow <= 2 * (processor_seconds() - before - flow)


@pytest.mark.slow
def test_an_edit_runs_the_same_stages_as_under_dvc(built, server, tmp_path):
    twin = tmp_path / "twin"
    shutil.copytree(built, twin, symlinks=True)
    for folder in (built, twin):
        (folder / "code").write_text("2")
        (folder / "setting").write_text("2")
    flow = {line.split()[1] for line in rebuild(built, server).stdout.splitlines() if line.startswith("ran ")}
    plain = set(re.findall("Running stage '(.+)'", run(twin, server, "-m", "dvc", "repro").stdout))
    assert flow == plain == {"list_code", "b", "d"}


@pytest.mark.slow
def test_a_failed_stage_ends_the_flow_with_the_command_that_shows_it(tmp_path, server):
    folder = start_checkout(tmp_path / "checkout", FAILING)
    done = rebuild(folder, server)
    assert done.returncode != 0 and not (folder / "b").exists()
    assert "dvc repro -s a" in done.stderr


@pytest.mark.slow
def test_the_flow_ends_in_one_message_where_a_variable_is_of_a_wrong_type(tmp_path):
    folder = start_checkout(tmp_path / "checkout", FAILING)
    done = rebuild(folder, os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_LOGGING_LEVEL": "LOUD"})
    assert done.returncode == 2 and done.stderr.startswith("error: PREFECT_LOGGING_LEVEL is 'LOUD'")
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


SCHEDULED = """stages:
  report: {cmd: python report.py, params: [seed], outs: [report]}
  other: {cmd: touch other, params: [seed], outs: [other]}
"""
REPORT = "import deixis, shutil; shutil.copy('params.yaml', 'report')"
PREFECT = """
import json, sys
from prefect.cli import app
for words in json.loads(sys.argv[1]):
    sys.argv = ["prefect", *words]
    try:
        app()
    except SystemExit as end:
        assert not end.code, words
"""


def asked(server: dict[str, str], path: str, **filters: Any) -> Any:
    request = urllib.request.Request(f"{server['PREFECT_API_URL']}/{path}", json.dumps(filters).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_page_on_scheduled_runs_literally(server, tmp_path):
    """Each `uv run PROGRAM` as that program by its path, with no other way to it."""
    checkout = start_checkout(tmp_path / "checkout", SCHEDULED)
    for name in ("deixis", "pipelines", "deploy"):
        (checkout / name).symlink_to(ROOT / name)
    (checkout / "report.py").write_text(REPORT)
    (checkout / "params.yaml").write_text("seed: 0\n")
    lines = commands("bash")
    assert ["export", "DEIXIS_CHECKOUT=$PWD"] in lines
    lines = [line[3:] for line in lines if line[:3] == ["uv", "run", "prefect"]]
    lines.remove(["server", "start"])  # as the server of all tests was started
    lines.remove(worker := ["worker", "start", "--pool", "drivers"])
    lines.remove(lines[-1][:3])  # a run of all, for which one of a part stands
    environment = server | {"PATH": "/usr/bin:/bin", "DEIXIS_CHECKOUT": str(checkout)}
    done = run(checkout, environment, "-c", PREFECT, json.dumps(lines))
    assert done.returncode == 0, done.stdout + done.stderr
    log = tmp_path / "worker.log"
    with log.open("w") as file:
        program = str(Path(sys.executable).parent / "prefect")
        process = subprocess.Popen([program, *worker], cwd=tmp_path, env=environment, stdout=file, stderr=file)
    try:
        completed = {"deployment_id": {"is_null_": False}, "state": {"type": {"any_": ["COMPLETED"]}}}
        latest = time.monotonic() + 240
        while not asked(server, "flow_runs/filter", flow_runs=completed):
            assert time.monotonic() < latest, log.read_text()[-5000:]
            time.sleep(0.5)
    finally:
        end(process)
    assert (checkout / "report").read_text() == "seed: 1\n" and not (checkout / "other").exists()
    assert (checkout / "params.yaml").read_text() == "seed: 0\n"
    assert {"stages", "metrics-diff"} <= {artifact["key"] for artifact in asked(server, "artifacts/filter")}
