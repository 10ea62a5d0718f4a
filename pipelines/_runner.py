"""One stage as one process group: started under a guard, judged by its true exit code, stopped whole."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deixis.core.progress import say
from pipelines import _guard
from pipelines._driver import mend_rwlock
from pipelines._dvc import command, environment

Action = Literal["ran", "restored", "skipped"]
TEMPORARY_FAILURE = 75  # EX_TEMPFAIL: a stage asks to be tried again
KILLED = (-signal.SIGKILL, signal.SIGKILL, 128 + signal.SIGKILL)  # as Python, as some schedulers, as a shell tells it
DVC_FAILED = 255  # whatever it was
SECONDS_TO_STOP = 10.0
SECONDS_BETWEEN_TURNS = 5.0
LONGEST_WAIT = 3600.0  # seconds; for somebody's own `dvc repro` in the same checkout
GUARD = [sys.executable, "-I", "-S", str(Path(_guard.__file__).resolve())]
BUSY = re.compile(
    r"is busy, it is being blocked by:\n(.*)"
    r"|Unable to acquire lock|Unable to read RWLock-file|RWLock-file .* format error"
)


@dataclass(frozen=True)
class StageOutcome:
    """What bringing one stage up to date took."""

    name: str
    action: Action
    output: str


class StageFailed(RuntimeError):
    """A stage ended with a code other than 0."""

    def __init__(self, name: str, exit_code: int, output: str) -> None:
        last = "\n".join(output.strip().splitlines()[-15:])
        super().__init__(f"{name}: exit code {exit_code}. Look at it alone with: dvc repro -s {name}\n{last}")
        self.exit_code = exit_code

    @property
    def may_pass_later(self) -> bool:
        """Whether trying again can help: the stage said so, or the system killed it."""
        return self.exit_code == TEMPORARY_FAILURE or self.exit_code in KILLED


def parse_action(output: str) -> Action:
    """What `dvc repro -s` did, from what it printed."""
    if "is cached - skipping run" in output:
        return "restored"
    return "ran" if "Running stage" in output else "skipped"


def true_code(code: int, output: str) -> int:
    """The stage's own exit code, which DVC tells in its last words and replaces by 255."""
    told = re.findall(r"^ERROR: failed to reproduce .*, exited with (-?\d+)$", output, re.MULTILINE)
    return int(told[-1]) if told and code == DVC_FAILED else code


class Runner:
    """Runs stages, and stops all that are running."""

    def __init__(self, tell: Callable[[str], None] = say) -> None:
        self._tell = tell
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self, name: str) -> StageOutcome:
        """Bring one stage up to date, its upstream being so already; wait while somebody else is at its files.

        Raises:
            StageFailed: If the stage fails or was stopped.
        """
        end = time.monotonic() + LONGEST_WAIT
        while True:
            code, output = self._attempt(name)
            if not code:
                return StageOutcome(name, parse_action(output), output)
            busy = BUSY.search(output) if code == DVC_FAILED else None
            if not busy or time.monotonic() > end:
                raise StageFailed(name, code, output)
            self._tell(f"{name}: waits its turn: {(busy[1] or busy[0]).strip()}")
            self._stopped.wait(SECONDS_BETWEEN_TURNS)
            mend_rwlock()

    def _attempt(self, name: str) -> tuple[int, str]:
        with tempfile.TemporaryFile() as output:  # no pipe, which a survivor of a killed DVC would keep open
            with self._lock:
                if self._stopped.is_set():
                    raise StageFailed(name, -signal.SIGTERM, "stopped before it began")
                process = subprocess.Popen(
                    [*GUARD, *command("repro", "-s", name)], env=environment(), stdin=subprocess.PIPE, stdout=output,
                    stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
                self._running.add(process)
            try:
                code = process.wait()
            finally:
                _signal_group(process, signal.SIGKILL)  # children that outlived DVC
                with self._lock:
                    self._running.discard(process)
                process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
            output.seek(0)
            text = output.read().decode(errors="replace")
        return true_code(code, text), text

    def stop(self) -> None:
        """End every running stage with all its children; none starts afterwards."""
        with self._lock:
            self._stopped.set()
            running = list(self._running)
        for process in running:
            _signal_group(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                pass
            _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # the group has ended by itself
