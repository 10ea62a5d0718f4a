"""The log of decisions, and the table beside it: written after a pause, at the end, and at the next start."""

import sqlite3
import threading
from pathlib import Path
from types import TracebackType

from deixis.core.progress import say
from reviewing.log import DecisionLog
from reviewing.places import TABLE
from reviewing.shared_table import take_in
from reviewing.table import write_decisions

PAUSE_S = 3.0  # without a decision, until the table is written


class SavedLog:
    """A log whose standing decisions are also in a table; a context manager.

    The table follows the log: where it lags behind, because the process was killed, the next start makes up for it.
    But it is versioned and the log is not, so what only the table knows, from another machine, goes into the log first.

    Args:
        path: The log, of SQLite; the table is beside it.

    Raises:
        DataError: If one of the two is something else.
    """

    def __init__(self, path: Path) -> None:
        self.table = path.parent / TABLE
        self.log = DecisionLog(path)
        self._written = 0  # when the table was, by the clock of its file system
        self._changed, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._save_after_pauses, name="decisions", daemon=True)
        try:
            self._save()
        except BaseException:
            self.log.close()
            raise

    def __enter__(self) -> "SavedLog":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._changed.set()
        self._thread.join()
        self._save_or_say()
        self.log.close()

    def changed(self) -> None:
        """Let the table be written after the next pause."""
        self._changed.set()

    def _save_after_pauses(self) -> None:
        while True:
            self._changed.wait()
            while self._changed.is_set() and not self._ended.is_set():
                self._changed.clear()
                self._ended.wait(PAUSE_S)
            if self._ended.is_set():
                return
            self._save_or_say()

    def _save_or_say(self) -> None:
        """Save the table; a full disk, or whatever else is in the way, takes no decision with it."""
        try:
            self._save()
        except (OSError, ValueError, sqlite3.Error) as error:  # ValueError: what Arrow and DataError are
            say(
                f"{self.table}: not written, it lags behind the log of decisions: {error}. What was decided is in "
                f"{self.log.path}; put that right, and start again"
            )

    def _save(self) -> None:
        if self.table.exists() and self.table.stat().st_mtime_ns != self._written:  # others wrote it since
            take_in(self.log, self.table)
        standing = self.log.standing()
        if standing or self.table.exists():
            write_decisions(standing.values(), self.table)
            self._written = self.table.stat().st_mtime_ns
