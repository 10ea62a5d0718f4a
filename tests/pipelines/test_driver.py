"""One driver per checkout, and what a killed one leaves."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deixis.core.errors import ConfigError
from pipelines._driver import driving, here, mend_rwlock
from tests.pipelines.checkouts import ROOT, init

DRIVE = """
import sys, time
from pathlib import Path
from pipelines._driver import driving
with driving(Path(sys.argv[1])):
    print("drives", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def drive(folder: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that drives, until it reads a line or the end of its input."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", DRIVE, str(folder)], env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield process


def test_the_lock_says_who_drives_and_ends_with_the_run(tmp_path):
    with driving(tmp_path / "tmp"):
        assert json.loads((tmp_path / "tmp/driver.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "tmp/driver.json").exists()


def test_a_second_flow_waits_its_turn_and_says_for_whom(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines._driver.SECONDS_BETWEEN_LOOKS", 0.05)
    with drive(tmp_path) as first:
        assert first.stdout.readline() == "drives\n"
        told = []

        def tell(line: str) -> None:
            told.append(line)
            first.stdin.close()

        with driving(tmp_path, tell):
            assert first.wait(10) == 0
    assert len(told) == 1 and f"host {here().host}, process {first.pid}, since " in told[0]


def test_the_lock_of_a_killed_driver_is_taken_over(tmp_path):
    with drive(tmp_path) as first:
        first.stdout.readline()
        first.kill()
    assert (tmp_path / "driver.json").exists()
    began = time.monotonic()
    with driving(tmp_path):
        assert json.loads((tmp_path / "driver.json").read_text())["pid"] == os.getpid()
    assert time.monotonic() - began < 1


def test_a_second_host_is_refused_by_name(tmp_path):
    elsewhere = replace(here(), host="node7", machine="another", start="another", pid=42)
    (tmp_path / "driver.json").write_text(json.dumps(asdict(elsewhere)))
    with pytest.raises(ConfigError, match=r"another host drives .*: host node7, process 42, .* rm .*driver\.json"):
        with driving(tmp_path):
            raise AssertionError("it drives")
    assert (tmp_path / "driver.json").exists()


def test_a_host_that_comes_first_keeps_its_note(tmp_path, monkeypatch):
    """Another host writes its note after we looked, and before ours."""
    elsewhere = json.dumps(asdict(replace(here(), host="node7", machine="another", start="another", pid=42)))
    monkeypatch.setattr("pipelines._driver._wait_for_turn", lambda *_: (tmp_path / "driver.json").write_text(elsewhere))
    with pytest.raises(ConfigError, match=r"another host drives .*: host node7, process 42"):
        with driving(tmp_path):
            raise AssertionError("it drives")
    assert (tmp_path / "driver.json").read_text() == elsewhere


def test_a_machine_that_restarted_takes_over_from_itself(tmp_path):
    before = replace(here(), machine="this", start="earlier", pid=42)
    (tmp_path / "driver.json").write_text(json.dumps(asdict(before)))
    (tmp_path / "rwlock").write_text('{"read": {}}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines._driver.here", lambda: replace(here(), machine="this"))
        with driving(tmp_path):
            pass
    assert not (tmp_path / "rwlock").exists()  # its process numbers mean others now


def test_a_folder_that_is_no_checkout_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"\.dvc: no such folder here\. Run from the root of a checkout"):
        with driving(tmp_path / ".dvc/tmp"):
            raise AssertionError("it drives")


def test_a_lock_that_names_nobody_is_told(tmp_path):
    (tmp_path / "driver.json").write_text("{")
    with pytest.raises(ConfigError, match=r"driver\.json: does not say who drives .* rm "):
        with driving(tmp_path):
            raise AssertionError("it drives")


@pytest.mark.parametrize("content", [b"", b"{bro", b"[]", b"\xff\xfe"])
def test_a_list_of_readers_that_cannot_be_read_is_dropped(tmp_path, content):
    path = tmp_path / "rwlock"
    mend_rwlock(tmp_path)
    path.write_bytes(b'{"read": {}}')
    mend_rwlock(tmp_path)
    assert path.exists()
    path.write_bytes(content)
    mend_rwlock(tmp_path)
    assert not path.exists()


def test_dvc_runs_again_where_its_list_was_cut(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    repro = [sys.executable, "-m", "dvc", "repro", "-q"]
    init(tmp_path, "stages: {a: {cmd: touch a, outs: [a]}}")
    (tmp_path / ".dvc/tmp").mkdir()
    (tmp_path / ".dvc/tmp/rwlock").write_bytes(b"")
    assert subprocess.run(repro, stderr=subprocess.DEVNULL).returncode == 255
    with driving():
        assert subprocess.run(repro).returncode == 0


def test_a_second_container_is_refused_by_name_until_the_first_is_gone(tmp_path):
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no right to make a PID namespace here")
    with drive(tmp_path) as first:
        first.stdout.readline()
        with drive(tmp_path, *unshare) as second:
            output, told = second.communicate(timeout=30)
        assert not output
        assert f"another container drives this checkout: host {here().host}, process {first.pid}," in told
        first.kill()
    with drive(tmp_path, *unshare) as third:
        assert third.communicate("\n", timeout=30)[0] == "drives\n"
