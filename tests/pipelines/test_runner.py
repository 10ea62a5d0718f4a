"""One stage under real DVC: its true exit code, whose turn it is, and nothing left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines._runner import BUSY, GUARD, Runner, StageFailed, _signal_group, parse_action, true_code
from tests.pipelines.checkouts import ROOT, init
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

GRAPH = """stages:
  asks: {cmd: exit 75, outs: [asks]}
  killed: {cmd: kill -9 $$, outs: [killed]}
  wrong: {cmd: 'echo "ERROR: failed to reproduce x, exited with 75"; exit 65', outs: [wrong]}
  base: {cmd: 'touch began; until test -e go; do sleep 0.1; done; touch base', outs: [base]}
  top: {cmd: cp base top, deps: [base], outs: [top]}
  endless: {cmd: 'echo $$ > began; sleep 100; true', outs: [endless]}
  python: {cmd: python -m deixis.core.errors && touch python, outs: [python]}
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return init(tmp_path, GRAPH)


def is_there(pid: int) -> bool:
    """Whether a process is, and has not merely left its number to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def is_gone_within(seconds: float, pid: int) -> bool:
    end = time.monotonic() + seconds
    while is_there(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_there(pid)


@pytest.mark.parametrize(
    ("output", "action"),
    [
        pytest.param("Running stage 'a':\n> python -m a\nUpdating lock file", "ran", id="ran"),
        pytest.param("Stage 'a' is cached - skipping run, checking out outputs\n", "restored", id="restored"),
        pytest.param("Stage 'a' didn't change, skipping\nData and pipelines are up to date.", "skipped", id="skipped"),
    ],
)
def test_action(output, action):
    assert parse_action(output) == action


@pytest.mark.parametrize(
    ("stage", "code", "again"), [("asks", 75, True), ("killed", -signal.SIGKILL, True), ("wrong", 65, False)]
)
def test_a_stage_is_judged_by_its_own_code_and_not_by_that_of_dvc(checkout, stage, code, again):
    with pytest.raises(
        StageFailed, match=rf"{stage}: exit code {code}\. Look at it alone with: dvc repro -s {stage}"
    ) as failure:
        Runner().run(stage)
    assert (failure.value.exit_code, failure.value.may_pass_later) == (code, again)


@pytest.mark.parametrize(
    ("code", "again"),
    [(75, True), (-signal.SIGKILL, True), (137, True), (9, True), (65, False), (2, False), (1, False)],
)
def test_only_what_can_pass_later_is_tried_again(code, again):
    assert StageFailed("a", code, "").may_pass_later is again


def test_a_code_that_dvc_did_not_end_with_stands():
    told = "ERROR: failed to reproduce 'a': failed to run: b, exited with 75"
    assert true_code(255, told) == 75
    assert true_code(137, told) == 137  # DVC itself was killed
    assert true_code(255, "ERROR: something else") == 255


def test_a_stopped_runner_starts_nothing():
    runner = Runner()
    runner.stop()
    with pytest.raises(StageFailed, match="stopped before it began"):
        runner.run("anything")


def test_a_stage_waits_for_somebody_elses_run_and_says_whose(checkout, monkeypatch):
    monkeypatch.setattr("pipelines._runner.SECONDS_BETWEEN_TURNS", 0.2)
    theirs = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "base"], stdout=subprocess.DEVNULL)
    wait_until((checkout / "began").exists)
    told = []

    def tell(line: str) -> None:
        told.append(line)
        (checkout / "go").touch()

    try:
        assert Runner(tell).run("top").action == "ran"
    finally:
        (checkout / "go").touch()
        assert theirs.wait() == 0
    assert told[0].startswith(f"top: waits its turn: (PID {theirs.pid}): ") and "repro base" in told[0]


def test_a_list_of_readers_that_is_broken_is_waited_for_and_one_that_named_the_dead_is_not():
    assert BUSY.search("ERROR: Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted")
    assert not BUSY.search("WARNING: Process 'a' with (Pid 7), in RWLock-file 'b' had been killed. Auto removed it")


def test_programs_of_this_python_are_found_without_a_path(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert Runner().run("python").action == "ran"


def test_a_killed_flow_leaves_no_stage_behind(checkout):
    code = "from pipelines._runner import Runner; Runner().run('endless')"
    flow = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})
    wait_until((checkout / "began").exists)
    time.sleep(0.1)
    stage = int((checkout / "began").read_text())
    assert is_there(stage)
    flow.kill()
    flow.wait()
    assert is_gone_within(15, stage)


def test_a_stage_whose_dvc_is_killed_ends_with_it_and_is_tried_again(checkout):
    def kill_dvc() -> None:
        wait_until((checkout / "began").exists)
        time.sleep(0.1)
        stage = Path(f"/proc/{int((checkout / 'began').read_text())}/stat").read_text()
        os.kill(int(stage.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)

    killer = threading.Thread(target=kill_dvc)
    killer.start()
    with pytest.raises(StageFailed, match="endless: exit code 137") as failure:
        Runner().run("endless")
    killer.join()
    assert failure.value.may_pass_later
    assert is_gone_within(1, int((checkout / "began").read_text()))


def test_the_guard_kills_what_does_not_stop(tmp_path):
    stubborn = "trap '' TERM; echo $$ > began; while true; do sleep 1; done"
    guard = subprocess.Popen(
        [*GUARD, "/bin/sh", "-c", stubborn], cwd=tmp_path, stdin=subprocess.PIPE, start_new_session=True
    )
    wait_until((tmp_path / "began").exists)
    time.sleep(0.1)
    guard.stdin.close()
    try:
        assert is_gone_within(15, int((tmp_path / "began").read_text()))
    finally:
        _signal_group(guard, signal.SIGKILL)
        guard.wait()
