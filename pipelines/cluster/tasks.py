"""Tasks of Ray followed to their end: output as it comes, exit codes, and what becomes of a node that dies."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deixis.core.errors import ConfigError
from deixis.core.foreign import first_words
from deixis.core.progress import say
from pipelines.cluster import body
from pipelines.cluster.body import Job, Record, run_here
from pipelines.cluster.nodes import living
from pipelines.cluster.resources import Needs

SECONDS_BETWEEN_LOOKS = 5.0
REMEDY = (
    "Let all nodes see one checkout under one path on a shared disk, or give each a checkout and a flow of its own and "
    "share results by a DVC remote (docs/cluster.md)"
)


class LostError(RuntimeError):
    """The cluster lost the stage; it may pass another time."""


@dataclass
class Task:
    """One body on its way.

    Attributes:
        label: Begins each line of its output; empty where it is alone.
        tries: How often it may still begin again after its node was lost.
    """

    job: Job
    label: str = ""
    tries: int = 0
    records: Any = None
    node: str | None = None
    code: int | None = None
    held: dict[str, bytes] = field(default_factory=dict)  # of each stream, a line that has not ended

    def write(self, kind: str, data: bytes) -> None:
        """Pass on what it wrote: as it is where it is alone, else line by line."""
        stream = sys.stdout.buffer if kind == "out" else sys.stderr.buffer
        if self.label:
            *lines, self.held[kind] = (self.held.get(kind, b"") + data).split(b"\n")
            data = b"".join(f"{self.label} ".encode() + line + b"\n" for line in lines)
        stream.write(data)
        stream.flush()

    def end(self, code: int) -> None:
        """Keep its exit code, and pass on lines that it did not end."""
        self.code = code
        for kind in [kind for kind, line in self.held.items() if line]:
            self.write(kind, b"\n")


class Tasks:
    """Runs bodies that each occupy the same of a node."""

    def __init__(self, ray: Any, needs: Needs, stage: str) -> None:
        self._ray, self._needs, self._stage = ray, needs, stage
        self._names = {node.id: node.name for node in living(ray)}
        ray.cloudpickle.register_pickle_by_value(body)
        self._remote = ray.remote(run_here).options(
            num_returns="streaming", max_retries=0, name=stage, scheduling_strategy="SPREAD",
            num_cpus=needs.cpus, num_gpus=needs.gpus, memory=needs.memory or None,
        )  # fmt: skip

    def run(self, tasks: Sequence[Task]) -> int:
        """Run tasks side by side; the first exit code that is not 0, at which the others end.

        Raises:
            LostError: If a node was lost with a task that may not begin again, or no other could take it.
            ConfigError: If a node cannot see the checkout.
        """
        for task in tasks:
            self._submit(task)
        running = list(tasks)
        while running:
            ready, _ = self._ray.wait([task.records for task in running], timeout=SECONDS_BETWEEN_LOOKS)
            if not ready:
                self._refuse_endless_wait(running)
            for task in [task for task in running if task.records in ready]:
                self._take(task)
                if task.code is not None:
                    running.remove(task)
                if task.code:
                    return task.code
        return 0

    def _submit(self, task: Task) -> None:
        task.records, task.node = self._remote.remote(task.job), None

    def _take(self, task: Task) -> None:
        """The next record of a task."""
        try:
            kind, value = self._ray.get(next(task.records))
        except self._ray.exceptions.RayTaskError:
            raise  # our bug
        except self._ray.exceptions.RayError as error:
            return self._lost(task, error)
        self._heed(task, (kind, value))

    def _heed(self, task: Task, record: Record) -> None:
        kind, value = record
        if kind == "node":
            task.node = value
            self._names |= {node.id: node.name for node in living(self._ray)}
        elif kind == "missing":
            raise ConfigError(f"{self._stage}: node {self._name(task)} {value}. {REMEDY}")
        elif kind == "end":
            task.end(value)
        else:
            task.write(kind, value)

    def _lost(self, task: Task, error: Exception) -> None:
        where = f"with node {self._name(task)}" if task.node else "before it began"
        told = f"{self._stage}: {task.label or 'it'} was lost {where} ({first_words(error)})"
        if not task.tries:
            raise LostError(f"{told}. Run it again: what it had finished is kept") from None
        say(f"{told}; it begins again, and what it had finished is kept")
        task.tries -= 1
        self._submit(task)

    def _name(self, task: Task) -> str:
        return self._names.get(task.node or "", task.node or "unknown")

    def _refuse_endless_wait(self, running: Sequence[Task]) -> None:
        waiting = any(task.node is None for task in running)
        if waiting and not any(map(self._needs.fits, living(self._ray))):
            raise LostError(f"{self._stage} asks for {self._needs}, and no node is left that has it")
