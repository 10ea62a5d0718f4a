"""Damaged files for every reader, some of each kind: no traceback, no hang, no sound row lost, no code run.

Many more: python -m benchmarks.fuzz --inputs 20000
"""

import os
import pickle
import time
from pathlib import Path

import pytest

from benchmarks.fuzz.annotations import PHRASE, ROWS
from benchmarks.fuzz.kinds import Kind
from benchmarks.fuzz.outcomes import FAULTS, Fuzz, all_kinds
from benchmarks.fuzz.readers import CANARY, RunsCode
from deixis.core.errors import DataError

pytestmark = pytest.mark.slow

INPUTS_PER_KIND = 3


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sound_files_of_every_kind_are_read(scratch):
    for number, kind in enumerate(all_kinds()):
        folder = scratch / str(number)
        folder.mkdir()
        kind.make(folder)
        if "hostile" in kind.name:
            with pytest.raises(DataError, match="would execute it"):
                kind.read(folder)
            continue
        found = kind.read(folder)
        assert found == ({PHRASE.format(row) for row in range(ROWS)} if "annotations" in kind.name else set()), (
            kind.name
        )
    assert not (scratch / CANARY).exists()


def test_damaged_files_of_every_kind_end_in_a_message_or_are_read(scratch):
    fuzz = Fuzz(0, scratch)
    ended = [fuzz.run(number) for number in range(INPUTS_PER_KIND * len(all_kinds()))]
    assert [outcome for outcome in ended if outcome.how in FAULTS] == []
    assert {outcome.how for outcome in ended} == {"read", "refused"}


def test_equal_seeds_give_equal_damage(scratch):
    first, second = Fuzz(7, scratch), Fuzz(7, scratch)
    assert [first.run(number).how for number in range(40)] == [second.run(number).how for number in range(40)]


def fault(scratch: Path, read, rows: str | None = None) -> str:
    """How an input ends with a reader of this kind."""
    made = lambda folder: (folder / "a.jsonl").write_text("{}\n" * ROWS)  # noqa: E731
    kind = Kind("made", made, "a.jsonl", read, rows)
    fuzz = Fuzz(0, scratch)
    (scratch / "copy").mkdir(parents=True)
    kind.make(scratch / "copy")
    return fuzz._read(kind, scratch / "copy", {"a phrase"} if rows else None)[0]


def test_faults_would_be_found(scratch, monkeypatch):
    def broken(folder):
        raise KeyError("a")

    def refuses(folder):
        raise DataError("no")

    assert fault(scratch / "1", broken) == "traceback"
    monkeypatch.setattr("benchmarks.fuzz.outcomes.SECONDS", 0.05)
    assert fault(scratch / "2", lambda folder: time.sleep(5)) == "hang"
    assert fault(scratch / "3", refuses) == "refused"
    assert fault(scratch / "4", refuses, rows="lines") == "lost"
    assert fault(scratch / "5", lambda folder: set(), rows="lines") == "lost"
    pickle.loads(pickle.dumps(RunsCode()))
    assert os.path.isdir(CANARY)
