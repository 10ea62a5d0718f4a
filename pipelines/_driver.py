"""One driver per checkout: whoever runs flows in it holds a lock that says who that is, and mends what a kill broke.

DVC asks whether a process still lives by its number alone. Two hosts, or two containers, on one checkout would each
take the other for dead and write over each other's outputs.
"""

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from deixis.core.errors import ConfigError
from deixis.core.progress import say
from pipelines._dvc import TMP

SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Holder:
    """Who drives a checkout.

    Attributes:
        machine, start: Which machine, and which of its starts; empty where the system does not tell.
        processes: The space in which `pid` is a number; containers have their own.
        since: Local time, ISO 8601.
    """

    host: str
    machine: str
    start: str
    processes: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"host {self.host}, process {self.pid}, since {self.since}"


def here() -> Holder:
    """Us."""
    machine, start, space = map(Path, ("/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"))
    return Holder(
        host=platform.node(), machine=machine.read_text().strip() if machine.exists() else "",
        start=start.read_text().strip() if start.exists() else "",
        processes=os.readlink(space) if space.is_symlink() else "", pid=os.getpid(),
        since=datetime.now().isoformat(timespec="seconds"),
    )  # fmt: skip


@contextmanager
def driving(folder: Path = TMP, tell: Callable[[str], None] = say) -> Iterator[None]:
    """Be the only driver of a checkout; wait while another process of this host is, and say so.

    The lock is the kernel's, which ends with its process; a file beside it tells other hosts, which may not see it.

    Raises:
        ConfigError: If another host or container drives it, or another host was killed while it did.
    """
    if not folder.parent.is_dir():
        raise ConfigError(f"{folder.parent}: no such folder here. Run from the root of a checkout, or first: dvc init")
    folder.mkdir(exist_ok=True)
    note, me = folder / "driver.json", here()
    with open(folder / "driver.lock", "ab") as gate:
        _wait_for_turn(gate, note, me, tell)
        last = _claim(note, me)
        try:
            numbered_otherwise = last is not None and (last.start, last.processes) != (me.start, me.processes)
            mend_rwlock(folder, drop=numbered_otherwise)
            yield
        finally:
            note.unlink(missing_ok=True)


def mend_rwlock(folder: Path = TMP, *, drop: bool = False) -> None:
    """Delete DVC's list of who reads and writes what where it cannot be read, as after a kill or on a full disk.

    DVC then knows of nobody, as at the start. It is looked at under DVC's own lock: it writes the list in place.

    Args:
        drop: Delete it in any case: its processes went with a container or a power cut, and others have their numbers.
    """
    path = folder / "rwlock"
    with open(folder / "rwlock.lock", "ab") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        try:
            sound = not path.exists() or isinstance(json.loads(path.read_bytes()), dict)
        except (OSError, ValueError, RecursionError):
            sound = False
        if drop or not sound:
            path.unlink(missing_ok=True)


def _wait_for_turn(gate: IO[bytes], note: Path, me: Holder, tell: Callable[[str], None]) -> None:
    told = False
    while True:
        holder = _read(note)
        if holder and not _same_machine(holder, me):
            raise ConfigError(f"another host drives this checkout: {holder}. Where it is gone for good: rm {note}")
        try:
            return fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if holder and (holder.host, holder.processes) != (me.host, me.processes):
                raise ConfigError(
                    f"another container drives this checkout: {holder}. Run again when it has finished, or in a "
                    "checkout of its own"
                ) from None
            if not told:
                tell(f"waits its turn in this checkout, which is driven by {holder or 'another flow'}")
            told = True
            time.sleep(SECONDS_BETWEEN_LOOKS)
        except OSError as error:
            raise ConfigError(
                f"{gate.name}: cannot be locked ({error.strerror}). Put .dvc/tmp on a local disk"
            ) from None


def _same_machine(holder: Holder, me: Holder) -> bool:
    """Whether the kernel's lock says if the holder lives: it sees both, or has restarted since."""
    one_kernel = holder.start == me.start if me.start else holder.host == me.host
    return one_kernel or (holder.host, holder.machine) == (me.host, me.machine) != (me.host, "")


def _claim(note: Path, me: Holder) -> Holder | None:
    """Write who drives, and return who was killed while it did, if anybody.

    A file appears whole or not at all, and at one host only: even on a network's disk, a link is made once.
    """
    last = _read(note)
    if last is not None and _same_machine(last, me):  # another host's came since we looked: the link below says so
        note.unlink(missing_ok=True)
    whole = note.with_name(f"driver.{me.host}.{me.pid}")
    whole.write_text(json.dumps(asdict(me)))
    try:
        os.link(whole, note)
    except FileExistsError:
        raise ConfigError(f"another host drives this checkout: {_read(note)}. Run again when it has finished") from None
    finally:
        whole.unlink()
    return last


def _read(note: Path) -> Holder | None:
    try:
        return Holder(**json.loads(note.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        raise ConfigError(f"{note}: does not say who drives this checkout. Where nobody does: rm {note}") from None
