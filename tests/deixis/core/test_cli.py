"""The way to a cluster: only where it is asked for, and only from a checkout."""

import sys
from pathlib import Path

import pytest

from deixis.core.cli import CLUSTER, go_to_cluster


def test_without_the_variable_a_stage_stays(monkeypatch):
    monkeypatch.delenv(CLUSTER, raising=False)
    go_to_cluster("stages.evaluate")
    monkeypatch.setenv(CLUSTER, "")
    go_to_cluster("stages.evaluate")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_its_options_are_told_here(monkeypatch, option):
    monkeypatch.setenv(CLUSTER, "local")
    monkeypatch.setattr(sys, "argv", ["stage", option])
    go_to_cluster("stages.evaluate")


def test_outside_a_checkout_one_message_says_so(monkeypatch, capsys):
    monkeypatch.setenv(CLUSTER, "local")
    monkeypatch.setattr(sys, "argv", ["stage"])
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not Path(entry or ".", "pipelines").exists()])
    monkeypatch.delitem(sys.modules, "pipelines", raising=False)
    with pytest.raises(SystemExit) as end:
        go_to_cluster("stages.evaluate")
    message = capsys.readouterr().err
    assert end.value.code == 2 and len(message.splitlines()) == 1
    assert message.startswith("error: DEIXIS_CLUSTER is set, but there is no pipelines.cluster here")
