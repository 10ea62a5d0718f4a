"""The body of a stage on the node where Ray has put it. It travels by value: it must say what a node lacks.

So it imports the standard library and Ray alone, and a node may lack the checkout.
"""

import hashlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

Record = tuple[str, Any]  # "node", its id; "missing", a message; "out" or "err", bytes; "end", the exit code
CODE = "data/code.json"
OF_THE_NODE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")  # which Ray sets
BESIDE = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]  # Ray kills a dying worker's children; the guard must not be one
BYTES_AT_ONCE = 32 << 10  # small enough to travel with Ray's messages, and not as an object that a node could lose
SECONDS_UNTIL_SEEN = 10.0  # for a shared disk to show a new file


@dataclass(frozen=True)
class Job:
    """A command line, and where it runs.

    Attributes:
        arguments: Of Python.
        folder: The checkout, by its absolute path.
        stamp: A file in it that only who shares its disk can see.
        code: SHA-256 of its list of code, where there is one.
        guard: Program that ends the stage with whoever started it.
        environment: Whole, but for what is the node's own.
    """

    arguments: tuple[str, ...]
    folder: str
    stamp: str
    code: str | None
    guard: str
    environment: dict[str, str]
    has_gpu: bool


def run_here(job: Job) -> Iterator[Record]:
    """Run the command and yield what comes of it."""
    yield "node", import_module("ray").get_runtime_context().get_node_id()
    if problem := what_is_missing(job):
        yield "missing", problem
        return
    command = [*BESIDE, sys.executable, "-I", "-S", job.guard, sys.executable, *job.arguments]
    process = subprocess.Popen(
        command, cwd=job.folder, env=environment_of(job), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield from output_of(process)
        yield "end", process.wait()
    finally:
        process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]  # the guard ends the stage if it runs yet


def what_is_missing(job: Job) -> str | None:
    """Why the stage cannot run here, if it cannot: the checkout is not there, is another one, or has other code."""
    if not os.path.isdir(job.folder):
        return f"has no folder {job.folder}"
    end = time.monotonic() + SECONDS_UNTIL_SEEN
    while not os.path.exists(job.stamp):
        if time.monotonic() > end:
            return f"has a folder {job.folder} of its own, and not the one where the stage was started"
        time.sleep(0.2)
    if checksum(job.folder) != job.code:
        return f"has another {CODE} in {job.folder}"
    return None


def checksum(folder: str) -> str | None:
    """SHA-256 of the list of code; None where there is none."""
    path = Path(folder, CODE)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def environment_of(job: Job) -> dict[str, str]:
    """That of whoever started the stage, with the devices that are its own here; none where it asked for none."""
    devices = {name: os.environ[name] for name in OF_THE_NODE if name in os.environ}
    return job.environment | (devices if job.has_gpu else dict.fromkeys(OF_THE_NODE, ""))


def output_of(process: subprocess.Popen[bytes]) -> Iterator[Record]:
    """What a process writes, as it comes; survivors that would keep its output open are ended after it."""
    with selectors.DefaultSelector() as selector:
        for stream, kind in ((process.stdout, "out"), (process.stderr, "err")):
            selector.register(stream, selectors.EVENT_READ, kind)  # pyright: ignore[reportArgumentType]
        while selector.get_map():
            ready = selector.select(timeout=0.5)
            if not ready and process.poll() is not None:
                break
            for key, _ in ready:
                if piece := os.read(key.fd, BYTES_AT_ONCE):
                    yield key.data, piece
                else:
                    selector.unregister(key.fileobj)
    process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # there are none
