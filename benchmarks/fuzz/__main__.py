"""Read many damaged files, count how each ended, and show those that ended badly.

A child process reads; where it dies or hangs inside a library, that input counts as a hang or a traceback, and the next
child goes on behind it.

run     python -m benchmarks.fuzz [--inputs N] [--seed S] [--first N] [--out FILE]
"""

import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from cyclopts import App

from benchmarks.fuzz.outcomes import FAULTS, SECONDS, Fuzz, Outcome, all_kinds
from deixis.core.progress import say, track
from deixis.core.records import write_json

MEMORY = 8 << 30  # bytes of data that a child may hold: what asks for more is refused by the system
SHOWN = 20  # faults of each sort
app = App(name="python -m benchmarks.fuzz", version_flags=[])


@app.default
def main(*, inputs: int = 20_000, seed: int = 0, first: int = 0, out: Path | None = None) -> None:
    """Exit code 1 where any input ended badly.

    Args:
        inputs: How many files are damaged and read.
        seed: Another seed, other damage.
        first: Number of the first input, to see one again.
        out: JSON of the counts and of every fault.
    """
    started, counts, faults = time.monotonic(), Counter[str](), list[Outcome]()
    numbers = range(first, first + inputs)
    for outcome in track(outcomes(numbers, seed), "reading", total=inputs):
        counts[outcome.how] += 1
        if outcome.how in FAULTS:
            faults.append(outcome)
    for fault in faults[:SHOWN]:
        print(f"input {fault.number}, {fault.kind}: {fault.how}\n{fault.shown}")
    summary = {"inputs": inputs, "seed": seed, "kinds": len(all_kinds()), "ended": dict(sorted(counts.items()))}
    summary["by_kind"] = dict(Counter(f"{fault.kind}: {fault.how}" for fault in faults))
    summary["seconds"] = round(time.monotonic() - started)
    print(json.dumps(summary, indent=2))
    if out is not None:
        write_json(summary | {"faults": [asdict(fault) for fault in faults]}, out)
    sys.exit(1 if faults else 0)


def outcomes(numbers: range, seed: int) -> Iterator[Outcome]:
    """How every input ended, in order, whatever becomes of the process that reads it."""
    fork = multiprocessing.get_context("fork")
    done = numbers.start
    while done < numbers.stop:
        receiver, sender = fork.Pipe(duplex=False)
        child = fork.Process(target=_read_all, args=(range(done, numbers.stop), seed, sender))
        child.start()
        sender.close()
        while done < numbers.stop and (ended := _next(receiver)) is not None:
            yield ended
            done += 1
        if done < numbers.stop:
            hangs = child.is_alive()
            child.kill()
            child.join()
            kind = all_kinds()[done % len(all_kinds())].name
            why = "no answer" if hangs else f"its process died with {child.exitcode}"
            yield Outcome(done, kind, "hang" if hangs else "traceback", why)
            done += 1
        child.join()


def _next(receiver: Connection) -> Outcome | None:
    try:
        return receiver.recv() if receiver.poll(4 * SECONDS) else None
    except EOFError:
        return None


def _read_all(numbers: range, seed: int, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(os.devnull, "w")
    with tempfile.TemporaryDirectory(prefix="deixis-fuzz-") as scratch:
        os.chdir(scratch)
        fuzz = Fuzz(seed, Path(scratch))
        for number in numbers:
            sender.send(fuzz.run(number))


if __name__ == "__main__":
    say(f"reading damaged files of {len(all_kinds())} kinds")
    app()
