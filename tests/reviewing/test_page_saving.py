"""The table beside the log: written after a pause, at the end, at the next start; and nothing that it knows is lost."""

import sqlite3
import time

import pytest

from deixis.core.errors import DataError
from reviewing.decisions import Decision
from reviewing.log import DecisionLog
from reviewing.page.saving import SavedLog
from reviewing.table import read_decisions, write_decisions
from tests.reviewing.page_client import client_of, decide
from tests.reviewing.reviewable import write_reviewable


@pytest.fixture
def labels(tmp_path):
    return write_reviewable(tmp_path / "own", images=1)


def wait_for(table):
    for _ in range(500):
        if table.exists():
            return
        time.sleep(0.01)


def test_the_table_is_written_at_the_end(labels):
    table = labels.parent / "decisions/decisions.parquet"
    with client_of(labels) as client:
        decide(client, "own/1", "accept")
        decide(client, "own/0", "reject")
    assert [one.sample_id for one in read_decisions(table)] == ["own/0", "own/1"]
    with client_of(labels) as client:
        client.post("/api/undo")
    assert [one.sample_id for one in read_decisions(table)] == ["own/1"]


def test_the_table_is_written_after_a_pause(labels, monkeypatch):
    monkeypatch.setattr("reviewing.page.saving.PAUSE_S", 0.02)
    table = labels.parent / "decisions/decisions.parquet"
    with client_of(labels) as client:
        decide(client, "own/1", "accept")
        wait_for(table)
        assert [one.sample_id for one in read_decisions(table)] == ["own/1"]


def test_a_log_that_fails_is_said_and_the_decision_does_not_count(labels):
    with client_of(labels) as client:
        client.desk._saved.log._connection.execute("PRAGMA query_only=ON")  # as on a disk that takes nothing more
        answer = decide(client, "own/0", "accept")
        assert answer.status_code == 503
        assert "log.sqlite: nothing was written: attempt to write a readonly database" in answer.json()["error"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        client.desk._saved.log._connection.execute("PRAGMA query_only=OFF")
        assert client.get("/api/labels").json()["decided"] == 0
        assert decide(client, "own/0", "accept").status_code == 200


def decision_of(number, *, who, verdict="reject"):
    box = None if verdict == "reject" else (1.0, 2.0, 3.0, 4.0)
    when = f"2026-11-{number:02d}T00:00:00.000000+00:00"
    return Decision("own/0", 7, "a", verdict, box, None, "dvin", "ab", who, when, "serve")


def test_what_only_the_table_knows_is_not_lost(tmp_path):
    """A table that DVC brought from another machine, where the log stayed."""
    write_decisions([decision_of(5, who="bob")], tmp_path / "decisions.parquet")
    with SavedLog(tmp_path / "log.sqlite") as saved:
        assert saved.log.of("own/0") == decision_of(5, who="bob")
        saved.log.append([decision_of(7, who="ann", verdict="box")])
    for day, who in ((6, "bob"), (8, "ann")):  # before and after ann's own
        write_decisions([decision_of(day, who=f"{who}2")], tmp_path / "decisions.parquet")
        with SavedLog(tmp_path / "log.sqlite") as saved:
            counts = saved.log.of("own/0")
            assert counts is not None and counts.who == ("ann" if day == 6 else "ann2")
    assert read_decisions(tmp_path / "decisions.parquet") == [decision_of(8, who="ann2")]


def test_what_was_taken_back_before_a_kill_does_not_come_back_from_the_table(tmp_path):
    with SavedLog(tmp_path / "log.sqlite") as saved:
        saved.log.append([decision_of(5, who="ann")])
    with DecisionLog(tmp_path / "log.sqlite") as log:  # a server that was killed before it wrote the table
        log.undo("ann", "2026-11-06T00:00:00.000000+00:00")
    with SavedLog(tmp_path / "log.sqlite") as saved:
        assert saved.log.standing() == {}
    assert read_decisions(tmp_path / "decisions.parquet") == []


def test_what_keeps_the_table_from_being_written_is_said_and_saving_goes_on(labels, monkeypatch, capsys):
    monkeypatch.setattr("reviewing.page.saving.PAUSE_S", 0.01)
    table = labels.parent / "decisions/decisions.parquet"
    said = ""
    with client_of(labels) as client:
        with sqlite3.connect(client.desk._saved.log.path) as other:
            other.execute("ALTER TABLE decisions RENAME TO hidden")
        client.desk._saved.changed()
        for _ in range(500):
            said += capsys.readouterr().err
            if "no such table" in said:
                break
            time.sleep(0.01)
        assert "lags behind the log of decisions" in said and "put that right, and start again" in said
        with other:
            other.execute("ALTER TABLE hidden RENAME TO decisions")
        other.close()
        decide(client, "own/1", "accept")
        wait_for(table)
        assert [one.sample_id for one in read_decisions(table)] == ["own/1"]


def test_a_table_that_lags_behind_at_the_end_is_said(labels, capsys):
    with client_of(labels) as client:
        decide(client, "own/1", "accept")
        (labels.parent / "decisions/decisions.parquet").mkdir()
    assert "decisions.parquet: not written, it lags behind the log of decisions" in capsys.readouterr().err


def test_a_deleted_log_takes_no_decision(labels):
    with client_of(labels) as client:
        decide(client, "own/1", "accept")
        client.desk._saved.log.path.unlink()
        answer = decide(client, "own/0", "accept")
        assert answer.status_code == 503 and "moved or deleted while in use: nothing was written" in answer.text
        assert client.post("/api/undo").status_code == 503
    table = labels.parent / "decisions/decisions.parquet"
    assert [one.sample_id for one in read_decisions(table)] == ["own/1"]


def test_another_file_in_the_place_of_the_table_stays(tmp_path):
    (tmp_path / "decisions.parquet").write_text("mine")
    with pytest.raises(DataError, match=r"decisions.parquet: not a table of decisions"):
        SavedLog(tmp_path / "log.sqlite")
    assert (tmp_path / "decisions.parquet").read_text() == "mine"
