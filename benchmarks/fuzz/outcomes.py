"""One damaged file, read to its end: how that ended."""

import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

from benchmarks.fuzz.annotations import PHRASE, ROWS, annotations
from benchmarks.fuzz.kinds import Kind
from benchmarks.fuzz.mutate import damage_one_row, mutate
from benchmarks.fuzz.readers import CANARY, others
from benchmarks.fuzz.returned import returned
from deixis.core.errors import ConfigError, DataError
from deixis.core.progress import quietly

SECONDS = 5.0
How = Literal["read", "refused", "traceback", "hang", "lost", "ran code"]
FAULTS: tuple[How, ...] = ("traceback", "hang", "lost", "ran code")


@dataclass(frozen=True)
class Outcome:
    """How one input ended, and what shows it: a message, or the end of a traceback."""

    number: int
    kind: str
    how: How
    shown: str


class Hang(BaseException):
    """Raised where reading takes too long; no boundary catches it."""


@cache
def all_kinds() -> tuple[Kind, ...]:
    """Every kind of file, in the order in which inputs are dealt out."""
    return (*annotations(), *others(), *returned())


class Fuzz:
    """Inputs by number; sound files are made once per kind, below `scratch`, the working directory."""

    def __init__(self, seed: int, scratch: Path) -> None:
        self._seed, self._scratch = seed, scratch

    def run(self, number: int) -> Outcome:
        """Damage a sound file of the kind whose turn it is, and read it."""
        kinds = all_kinds()
        kind, random = kinds[number % len(kinds)], Random(f"{self._seed}/{number}")
        with tempfile.TemporaryDirectory(dir=self._scratch) as name:
            folder = Path(name)
            shutil.copytree(self._sound(kind), folder, dirs_exist_ok=True)
            path = random.choice(sorted(folder.glob(kind.damaged)))
            kept = None
            if kind.rows is not None and random.random() < 0.5:
                place = damage_one_row(path, kind.rows, random)
                kept = {PHRASE.format(number) for number in range(ROWS) if number != place}
            else:
                mutate(path, random)
            how, shown = self._read(kind, folder, kept)
        if (self._scratch / CANARY).exists():
            (self._scratch / CANARY).rmdir()
            how = "ran code"
        return Outcome(number, kind.name, how, shown)

    def _read(self, kind: Kind, folder: Path, kept: set[str] | None) -> tuple[How, str]:
        try:
            with _limited(SECONDS), quietly(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = kind.read(folder)
        except (ConfigError, DataError) as error:
            return ("refused", str(error)) if kept is None else ("lost", f"all: {error}")
        except Hang:
            return "hang", _end_of_traceback()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return "traceback", _end_of_traceback()
        lost = (kept or set()) - found
        return ("lost", ", ".join(sorted(lost))) if lost else ("read", "")

    def _sound(self, kind: Kind) -> Path:
        folder = self._scratch / f"sound-{all_kinds().index(kind)}"
        if not folder.exists():
            folder.mkdir()
            kind.make(folder)
        return folder


def _end_of_traceback() -> str:
    return "".join(traceback.format_exc().splitlines(keepends=True)[-8:])


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
