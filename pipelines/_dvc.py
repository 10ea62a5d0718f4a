"""DVC's graph as a plan, and one stage of it as one process group that can be stopped whole."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

from deixis.core.errors import ConfigError, DataError

Action = Literal["ran", "restored", "skipped"]
TEMPORARY_FAILURE = 75  # EX_TEMPFAIL: a stage asks to be tried again
SECONDS_TO_STOP = 10.0
RWLOCK = Path(".dvc/tmp/rwlock")
# Stages side by side share the cores: threads that wait must sleep and not spin. Their number, and with it every
# result, stays the same.
SHARED_CORES = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


@dataclass(frozen=True)
class StageNode:
    """A stage and those that must be up to date before it, in the order of a possible run."""

    name: str
    upstream: tuple[str, ...]


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
        return self.exit_code in (TEMPORARY_FAILURE, -signal.SIGKILL, 128 + signal.SIGKILL)


def plan(targets: Sequence[str] = ()) -> list[StageNode]:
    """Stages of the root graph (or those that `targets` need), each after its upstream ones.

    Without a target DVC would list every pipeline of the repository, the claims included; it takes one at a time.

    Raises:
        ConfigError: If DVC does not know a target.
    """
    return parse_dag("\n".join(_dvc("dag", "--dot", target) for target in targets or ("dvc.yaml",)))


def refuse_broken_lock(path: Path = RWLOCK) -> None:
    """Stop where DVC's list of who reads and writes what cannot be read, as after a kill or on a full disk.

    Another process may be writing it at this moment, so it is looked at twice.

    Raises:
        ConfigError: Names the file, which nobody needs while nothing runs.
    """
    for seconds in (0.2, 0.0):
        try:
            if not path.exists() or isinstance(json.loads(path.read_bytes()), dict):
                return
        except (OSError, ValueError, RecursionError):
            pass
        time.sleep(seconds)
    raise ConfigError(f"{path}: broken, so that DVC runs no stage. Where nothing else runs, delete it: rm {path}")


def parse_dag(dot: str) -> list[StageNode]:
    """Read DOT as `dvc dag --dot` prints it."""
    upstream: dict[str, set[str]] = {}
    for line in dot.splitlines():
        names = re.findall(r'"([^"]+)"', line)
        if "->" in line and len(names) == 2:
            upstream.setdefault(names[0], set())
            upstream.setdefault(names[1], set()).add(names[0])
        elif len(names) == 1:
            upstream.setdefault(names[0], set())
    order = TopologicalSorter({name: sorted(parents) for name, parents in sorted(upstream.items())}).static_order()
    return [StageNode(name, tuple(sorted(upstream[name]))) for name in order]


def parse_action(output: str) -> Action:
    """What `dvc repro -s` did, from what it printed."""
    if "is cached - skipping run" in output:
        return "restored"
    return "ran" if "Running stage" in output else "skipped"


class Runner:
    """Runs stages, and stops all that are running."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def run(self, name: str) -> StageOutcome:
        """Bring one stage up to date, its upstream being so already.

        Raises:
            StageFailed: If the stage fails or was stopped.
        """
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", name]
        with self._guard:
            if self._stopped:
                raise StageFailed(name, -signal.SIGTERM, "stopped before it began")
            process = subprocess.Popen(
                command, env=os.environ | SHARED_CORES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,
            )  # fmt: skip
            self._running.add(process)
        try:
            output, _ = process.communicate()
        finally:
            with self._guard:
                self._running.discard(process)
        if process.returncode:
            raise StageFailed(name, process.returncode, output)
        return StageOutcome(name, parse_action(output), output)

    def stop(self) -> None:
        """End every running stage with all its children; none starts afterwards."""
        with self._guard:
            self._stopped = True
            running = list(self._running)
        for process in running:
            _signal_group(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                pass
            _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # the group has ended by itself


def metrics_diff() -> str:
    """What changed against the last commit, as Markdown; empty outside a Git history."""
    return _dvc("metrics", "diff", "--md", check=False)


def comparison() -> str:
    """Results against those of the last commit, as Markdown; where there is nothing to compare, why."""
    from commands.compare import compare  # takes seconds

    out = Path("comparison")
    try:
        compare("HEAD", out=out)
    except (ConfigError, DataError) as error:
        return str(error)
    return (out / "comparison.md").read_text(encoding="utf-8")


def _dvc(*arguments: str, check: bool = True) -> str:
    finished = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    if check and finished.returncode:
        message = finished.stderr.removeprefix("ERROR: ").strip()
        raise ConfigError(f"dvc {' '.join(arguments)}: {message}. All stages: dvc stage list --name-only")
    return finished.stdout
