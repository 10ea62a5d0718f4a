"""The log of decisions: what was said is there again after a reopening, a kill, an undo, from two processes."""

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from deixis.core.errors import DataError
from reviewing.log import DecisionLog, LogFailed
from tests.reviewing.decided import a_decision

SEEN = a_decision()
REFUSED = replace(SEEN, sample_id="a/2", verdict="reject", box=None, label_box=None)


def test_what_was_said_is_there_again(tmp_path):
    with DecisionLog(tmp_path / "new" / "log.sqlite") as log:
        log.append([SEEN, REFUSED])
    with DecisionLog(tmp_path / "new" / "log.sqlite") as log:
        assert log.standing() == {"a/1": SEEN, "a/2": REFUSED}
        assert log.of("a/3") is None


def test_the_last_word_counts_and_undo_brings_back_the_one_before(tmp_path):
    moved = replace(SEEN, verdict="box", box=(3.0, 2.0, 30.0, 40.0))
    path = tmp_path / "log.sqlite"
    with DecisionLog(path) as log:
        log.append([SEEN])
        log.append([moved])
        assert log.of("a/1") == moved
        assert log.undo("ann", "2026-11-30T12:00:00+00:00") == moved
        assert log.of("a/1") == SEEN
        assert log.undo("bob", "2026-11-30T12:00:00+00:00") is None
        assert log.undo("ann", "2026-11-30T12:00:01+00:00") == SEEN
        assert log.standing() == {}
    with DecisionLog(path) as log:
        assert log.standing() == {}
        assert log.undo("ann", "2026-11-30T12:00:02+00:00") is None


def test_two_open_logs_see_each_other(tmp_path):
    with DecisionLog(tmp_path / "log.sqlite") as one, DecisionLog(tmp_path / "log.sqlite") as other:
        one.append([SEEN])
        assert other.of("a/1") == SEEN
        other.append([replace(REFUSED, sample_id="a/1", who="bob")])
        assert one.of("a/1").verdict == "reject"


def test_a_decision_is_on_the_disk_before_the_next_step(tmp_path):
    program = (
        "import os, signal; from pathlib import Path; from tests_log import REFUSED, SEEN; "
        "from reviewing.log import DecisionLog; log = DecisionLog(Path('log.sqlite')); "
        "log.append([SEEN]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    (tmp_path / "tests_log.py").write_text(
        f"from reviewing.decisions import Decision\nSEEN = {SEEN!r}\nREFUSED = {REFUSED!r}\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    assert ended.returncode == -signal.SIGKILL
    with DecisionLog(tmp_path / "log.sqlite") as log:
        assert log.standing() == {"a/1": SEEN}


def test_all_or_none_are_written(tmp_path):
    with DecisionLog(tmp_path / "log.sqlite") as log:
        with pytest.raises(ValueError, match="only a rejection has none"):
            log.append([SEEN, replace(SEEN, sample_id="a/9", box=None)])
        assert log.standing() == {}


def test_what_two_servers_take_back_at_once_is_not_the_same(tmp_path):
    path = tmp_path / "log.sqlite"
    with DecisionLog(path) as one, DecisionLog(path) as other, ThreadPoolExecutor(8) as many:
        one.append([replace(SEEN, sample_id=f"a/{number}") for number in range(40)])
        undone = list(many.map(lambda number: (one, other)[number % 2].undo("ann", SEEN.when), range(40)))
        assert len({decision.sample_id for decision in undone if decision}) == 40
        assert one.standing() == other.standing() == {}


def test_a_full_disk_is_the_cause_that_is_named(tmp_path):
    with DecisionLog(tmp_path / "log.sqlite") as log:
        log.append([SEEN])
        (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
        log._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(LogFailed, match=r"log\.sqlite: nothing was written: database or disk is full\. See that"):
            log.append([replace(REFUSED, expression="long " * 10_000)])
        assert log.standing() == {"a/1": SEEN}


def test_a_moved_log_is_not_written_to(tmp_path):
    path = tmp_path / "log.sqlite"
    with DecisionLog(path) as log:
        log.append([SEEN])
        path.rename(tmp_path / "moved.sqlite")
        path.touch()
        with pytest.raises(LogFailed, match="was moved or deleted while in use: nothing was"):
            log.append([REFUSED])
        assert log.standing() == {"a/1": SEEN}


def test_a_place_where_no_log_can_be_is_said_with_the_cause(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match=r"cannot be made or read there \((Not a dir|File exists).*Name"):
        DecisionLog(tmp_path / "file/log.sqlite")
    (tmp_path / "log.sqlite").mkdir()
    with pytest.raises(DataError, match=r"cannot be made or read there \(Is a directory"):
        DecisionLog(tmp_path / "log.sqlite")
    (tmp_path / "other.sqlite-journal").mkdir()
    with pytest.raises(DataError, match=r"cannot be written there \(unable to open database file\)\. Name another"):
        DecisionLog(tmp_path / "other.sqlite")


@pytest.mark.parametrize("content", [b"not a database, but long enough to be taken for one" * 9, b"x"])
def test_another_file_is_refused_and_left(tmp_path, content):
    path = tmp_path / "log.sqlite"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"log\.sqlite: not a log of decisions"):
        DecisionLog(path)
    assert path.read_bytes() == content


def test_a_log_of_a_later_format_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "log.sqlite") as later:
        later.execute("PRAGMA user_version=2")
    later.close()
    with pytest.raises(DataError, match="of format 2"):
        DecisionLog(tmp_path / "log.sqlite")
