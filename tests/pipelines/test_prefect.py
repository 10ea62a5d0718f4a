"""What the flow asks of Prefect's server and worker, where neither is there."""

import os
import signal
import sys
import threading

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deixis.core.errors import ConfigError
from pipelines._prefect import _end_when_nobody_reads, reach_server, refuse_wrong_settings


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


def test_a_run_whose_worker_is_gone_is_asked_to_end(monkeypatch):
    worker, run = os.pipe()
    asked = []
    before = signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    with os.fdopen(run, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        watch = threading.Thread(target=_end_when_nobody_reads)
        watch.start()
        watch.join(0.1)
        assert watch.is_alive() and not asked
        os.close(worker)
        watch.join(10)
    signal.signal(signal.SIGTERM, before)
    assert asked
