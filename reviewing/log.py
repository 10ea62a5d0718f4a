"""The log that decisions are written to while people review: SQLite, appended to and never rewritten.

A decision is on the disk before the caller goes on, so that neither a killed process nor a power cut takes one back.
Undoing is a row, too: the decision that is taken back, and its number. Several processes may write; rows that another
one wrote count from the next call on.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from deixis.core.errors import DataError
from reviewing.decisions import VERDICTS, Decision

FORMAT = 1
SQLITE = b"SQLite format 3\0"
REMEDY = "Name another file, or move this one away"
ROOM = "See that the disk has room and the folder may be written, and try again"
NO_LOG = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)  # what SQLite says of other files
CREATE = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, sample_id TEXT NOT NULL, image_id INTEGER NOT NULL,
    expression TEXT NOT NULL, verdict TEXT NOT NULL, box_left REAL, box_top REAL, box_right REAL, box_bottom REAL,
    label_left REAL, label_top REAL, label_right REAL, label_bottom REAL, teacher TEXT NOT NULL,
    checkpoint_sha256 TEXT NOT NULL, who TEXT NOT NULL, at TEXT NOT NULL, source TEXT NOT NULL, undoes INTEGER
)"""
COLUMNS = (
    "sample_id", "image_id", "expression", "verdict", "box_left", "box_top", "box_right", "box_bottom", "label_left",
    "label_top", "label_right", "label_bottom", "teacher", "checkpoint_sha256", "who", "at", "source", "undoes",
)  # fmt: skip
INSERT = f"INSERT INTO decisions ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


class LogFailed(DataError):
    """A log that was opened, and cannot be read or written any more."""


class DecisionLog:
    """An open log; a context manager. It may be used from several threads.

    Args:
        path: The file; made, folder and all, if it is not there.

    Raises:
        DataError: If the file is something else or of another format, or cannot be made or written.
        LogFailed: In every other method, if the file is gone, the disk is full, or the like; nothing is written then.
    """

    def __init__(self, path: Path) -> None:
        _prepare(path)
        self.path = path
        self._lock = threading.Lock()
        self._last = 0  # number of the last row that `_standing` knows
        self._standing: dict[str, list[tuple[int, Decision]]] = {}  # sample_id -> what was decided, but not undone
        try:
            self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
        except sqlite3.Error as error:
            raise _unopened(path, error) from None
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute(CREATE)
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._connection.execute(f"PRAGMA user_version={FORMAT}")
            elif version != FORMAT:
                raise DataError(
                    f"{path}: a log of decisions of format {version}; this version of deixis knows {FORMAT}"
                )
            self._catch_up()
            self._file = _identity(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise _unopened(path, error) from None
        except DataError:
            self._connection.close()
            raise

    def __enter__(self) -> "DecisionLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def append(self, decisions: Iterable[Decision]) -> None:
        """Write decisions, all or none."""
        rows = [_row(decision) for decision in decisions]
        with self._reading():
            with self._writing():
                self._connection.executemany(INSERT, rows)
            self._catch_up()

    def held(self) -> set[tuple[str, str, str]]:
        """The sample_id, who and when of every decision that was ever written here, taken back or not."""
        with self._reading():
            query = "SELECT sample_id, who, at FROM decisions WHERE undoes IS NULL"
            return set(self._connection.execute(query).fetchall())

    def undo(self, who: str, when: str) -> Decision | None:
        """Take back the last decision of `who` that still stands, and say which; None if there is none."""
        with self._reading():
            with self._writing():  # from here on nobody else takes the same one back
                self._catch_up()
                own = [(n, one) for history in self._standing.values() for n, one in history if one.who == who]
                if not own:
                    return None
                number, decision = max(own, key=lambda pair: pair[0])
                row = _row(decision)
                row[COLUMNS.index("at")], row[COLUMNS.index("undoes")] = when, number
                self._connection.execute(INSERT, row)
            self._catch_up()
        return decision

    def standing(self) -> dict[str, Decision]:
        """The decision that counts for each sample_id: the last one that was not undone."""
        with self._reading():
            self._catch_up()
            return {sample_id: history[-1][1] for sample_id, history in self._standing.items()}

    def history(self) -> dict[str, list[Decision]]:
        """Per sample_id, all decisions that were not undone, the last one last."""
        with self._reading():
            self._catch_up()
            return {sample_id: [one for _, one in rows] for sample_id, rows in self._standing.items()}

    def of(self, sample_id: str) -> Decision | None:
        """The decision that counts for one phrase."""
        with self._reading():
            self._catch_up()
            history = self._standing.get(sample_id)
            return history[-1][1] if history else None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One thread at a time, and errors that name the file."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise LogFailed(f"{self.path}: the log of decisions failed: {error}. {ROOM}") from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All or nothing."""
        if _identity(self.path) != self._file:  # SQLite would go on writing to a file that nobody finds again
            raise LogFailed(f"{self.path}: was moved or deleted while in use: nothing was written. Start again")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:  # on a full disk, SQLite has rolled back already
                with suppress(sqlite3.Error):  # of two errors the first says what is wrong
                    self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise LogFailed(f"{self.path}: nothing was written: {error}. {ROOM}") from None
            raise

    def _catch_up(self) -> None:
        for number, undoes, decision in self._rows_after(self._last):
            self._last = number
            history = self._standing.setdefault(decision.sample_id, [])
            if undoes is None:
                history.append((number, decision))
            else:
                history[:] = [kept for kept in history if kept[0] != undoes]
                if not history:
                    del self._standing[decision.sample_id]

    def _rows_after(self, number: int) -> Iterator[tuple[int, int | None, Decision]]:
        query = f"SELECT number, {', '.join(COLUMNS)} FROM decisions WHERE number > ? ORDER BY number"
        for row in self._connection.execute(query, (number,)).fetchall():
            yield row[0], row[-1], _decision(row[1:-1])


def _prepare(path: Path) -> None:
    """Make the folder, and see that no other file is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beginning = _beginning(path) if path.exists() else b""
    except OSError as error:
        raise DataError(
            f"{path}: the log of decisions cannot be made or read there ({error.strerror}). Name another place, or "
            "make it one that may be written"
        ) from None
    if beginning not in (b"", SQLITE):  # SQLite takes a short file for an empty one
        raise DataError(f"{path}: not a log of decisions. {REMEDY}")


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(len(SQLITE))


def _unopened(path: Path, error: sqlite3.Error) -> DataError:
    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in NO_LOG:  # without the kind of the error
        return DataError(f"{path}: not a log of decisions ({error}). {REMEDY}")
    return DataError(
        f"{path}: the log of decisions cannot be written there ({error}). Name another place, or see that this one may "
        "be written and has room"
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _row(decision: Decision) -> list[Any]:
    if decision.verdict not in VERDICTS:
        raise ValueError(f"verdict is {decision.verdict!r}. Allowed: {', '.join(VERDICTS)}")
    if (decision.box is None) != (decision.verdict == "reject"):
        raise ValueError(f"{decision.sample_id}: {decision.verdict} with box {decision.box}: only a rejection has none")
    values = dict(zip([field.name for field in fields(decision)], astuple(decision), strict=True))
    nowhere = (None, None, None, None)
    return [
        *(values[name] for name in ("sample_id", "image_id", "expression", "verdict")),
        *(decision.box or nowhere),
        *(decision.label_box or nowhere),
        *(values[name] for name in ("teacher", "checkpoint_sha256", "who", "when", "source")),
        None,
    ]


def _decision(row: tuple[Any, ...]) -> Decision:
    box, label_box = row[4:8], row[8:12]
    return Decision(
        *row[:4],
        box=None if box[0] is None else box,
        label_box=None if label_box[0] is None else label_box,
        teacher=row[12],
        checkpoint_sha256=row[13],
        who=row[14],
        when=row[15],
        source=row[16],
    )
