"""A command run and watched: its time, its processor time and its highest memory. Linux's /proc says them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECONDS_BETWEEN_LOOKS = 0.05
KIBIBYTE = 1024


@dataclass
class Watched:
    """A running process, and what it took once it has ended.

    Attributes:
        own_bytes: Its highest memory without pages of files, which the kernel takes back when it wants them.
        resident_bytes: The highest with them.
    """

    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    processor_seconds: float = 0.0
    own_bytes: int = 0
    resident_bytes: int = 0

    def look(self) -> bool:
        """Note its memory; whether it runs yet."""
        for name, value in _status(self.process.pid).items():
            if name == "RssAnon":
                self.own_bytes = max(self.own_bytes, value)
            elif name == "VmHWM":
                self.resident_bytes = max(self.resident_bytes, value)
        ended, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if not ended:
            return True
        self.seconds = time.perf_counter() - self.started
        self.processor_seconds = usage.ru_utime + usage.ru_stime
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return False

    def facts(self) -> dict[str, float | int]:
        """For a file of results."""
        return {
            "seconds": round(self.seconds, 1), "processor_seconds": round(self.processor_seconds, 1),
            "own_bytes": self.own_bytes, "resident_bytes": self.resident_bytes,
        }  # fmt: skip


def watch(
    *commands: Sequence[object],
    folder: Path,
    environments: Sequence[dict[str, str]] = (),
    until: Callable[[], bool] = lambda: False,
) -> list[Watched]:
    """Run `python -m` with these arguments, side by side; kill all (SIGKILL) as soon as `until` says so.

    Raises:
        SystemExit: If one fails that was not killed.
    """
    environments = environments or [{}] * len(commands)
    whole = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    watched = [
        Watched(subprocess.Popen([sys.executable, "-m", *map(str, command)], cwd=folder, env=whole | environment))
        for command, environment in zip(commands, environments, strict=True)
    ]
    running, killed = list(watched), False
    while running:
        running = [each for each in running if each.look()]
        if running and not killed and until():
            killed = True
            for each in running:
                each.process.kill()
        time.sleep(SECONDS_BETWEEN_LOOKS)
    for each, command in zip(watched, commands, strict=True):
        if each.process.returncode and not (killed and each.process.returncode == -signal.SIGKILL):
            raise SystemExit(f"{command[0]} ended with {each.process.returncode}")
    return watched


def _status(pid: int) -> dict[str, int]:
    """Bytes by name; nothing once the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {
        name: int(value.split()[0]) * KIBIBYTE
        for name, _, value in (line.partition(":") for line in lines)
        if value.endswith("kB")
    }
