"""Results that are pushed, and taken from there by a second checkout."""

import subprocess
import sys

import pytest

from deixis.core.errors import ConfigError
from pipelines._dvc import push_everything, refuse_missing_remote
from pipelines._runner import Runner
from tests.pipelines.checkouts import init

pytestmark = pytest.mark.slow

GRAPH = "stages: {a: {cmd: date +%N > a, deps: [made], outs: [a]}}"


def test_a_second_checkout_takes_what_was_pushed(tmp_path, monkeypatch):
    for name in ("first", "second"):
        init(tmp_path / name, GRAPH)
        (tmp_path / name / "made").touch()
    monkeypatch.chdir(tmp_path / "first")
    with pytest.raises(ConfigError, match=r"no remote to push to\. Name one: dvc remote add -d NAME ADDRESS"):
        refuse_missing_remote()
    remote = f"    remote = there\n['remote \"there\"']\n    url = {tmp_path}/there\n"
    for name in ("first", "second"):
        with (tmp_path / name / ".dvc/config").open("a") as file:
            file.write(remote)
    refuse_missing_remote()
    assert Runner().run("a").action == "ran"
    push_everything()
    monkeypatch.chdir(tmp_path / "second")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "--pull"], check=True)
    assert (tmp_path / "second/a").read_text() == (tmp_path / "first/a").read_text()
