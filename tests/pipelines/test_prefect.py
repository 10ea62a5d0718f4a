"""What the flow asks of Prefect's server and worker, where neither is there."""

import os
import signal
import sys
import threading

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deixis.core.errors import ConfigError
from pipelines._prefect import _end_when_nobody_reads, reach_server


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
