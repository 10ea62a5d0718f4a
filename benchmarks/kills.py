"""Kills of scheduled flows, again and again: what is left behind, what stays `Running`, what the next run makes of it.

A real server, worker, deployment (deploy/prefect.yaml) and automation (deploy/automations.yaml) drive a checkout of
four stages, two of them slow. In the middle of a slow one, one process is killed, or all at once (node). Counted are
processes that still work in the checkout 15 seconds later, runs that are `Running` 3 minutes later, next runs that
complete, and outputs that are those of a run that nobody disturbed. Linux alone: it reads /proc.

run     python -m benchmarks.kills [--times 5] [--kinds flow-kill] [--out benchmarks/kills.json]
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cyclopts import App

from benchmarks.local_prefect import ROOT, end, local_prefect
from deixis.core.cli import run_app
from deixis.core.progress import say

PROGRAMS = Path(sys.executable).parent
GRAPH = """stages:
  made: {cmd: python made.py made, deps: [setting], outs: [made]}
  left: {cmd: python slow.py made left, deps: [made], outs: [left]}
  right: {cmd: python slow.py made right, deps: [made], outs: [right]}
  report: {cmd: cat left right > report, deps: [left, right], outs: [report]}
"""
MADE = "import sys; open(sys.argv[1], 'w').write(open('setting').read() * 1000)"
SLOW = "import sys, time; time.sleep(20); open(sys.argv[2], 'w').write(open(sys.argv[1]).read() + sys.argv[2])"
SETTLED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
SECONDS_TO_CLEAR, SECONDS_TO_SETTLE, SECONDS_TO_COMPLETE = 15.0, 180.0, 240.0


def processes() -> dict[int, tuple[int, str, Path]]:
    """Parent, command line and working folder of every process, zombies left out."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            found[int(process.name)] = (parent, words, (process / "cwd").resolve())
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
    return {pid: entry for pid, entry in found.items() if entry[1]}


class Site:
    """A checkout with a deployment, and the worker that serves it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment | {"DEIXIS_CHECKOUT": str(folder), "PATH": "/usr/bin:/bin"}
        self.worker: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        for name in ("deixis", "pipelines", "deploy"):
            (folder / name).symlink_to(ROOT / name)
        for name, text in {"dvc.yaml": GRAPH, "made.py": MADE, "slow.py": SLOW, "setting": "0"}.items():
            (folder / name).write_text(text)
        self.call("dvc", "init", "-q", "--no-scm")
        self.call("prefect", "work-pool", "create", "drivers", "--type", "process")
        self.call("prefect", "--no-prompt", "deploy", "--prefect-file", "deploy/prefect.yaml", "--all")
        self.call("prefect", "automation", "create", "--from-file", "deploy/automations.yaml")

    def call(self, program: str, *arguments: str) -> str:
        command = [str(PROGRAMS / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def begin_run(self, setting: str) -> str:
        """Make everything stale, and ask for a run; returns its id."""
        (self.folder / "setting").write_text(setting)
        if self.worker is None or self.worker.poll() is not None:
            with (self.folder.parent / "worker.log").open("ab") as log:
                self.worker = subprocess.Popen(
                    [str(PROGRAMS / "prefect"), "worker", "start", "--pool", "drivers"], cwd=self.folder.parent,
                    env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
        told = self.call("prefect", "deployment", "run", "rebuild/nightly")
        return next(
            word for line in told.splitlines() if "UUID" in line for word in line.split() if word.count("-") == 4
        )

    def state(self, run: str) -> str:
        with urllib.request.urlopen(f"{self.environment['PREFECT_API_URL']}/flow_runs/{run}") as answer:
            return json.load(answer)["state_type"]

    def inside(self, part: str = "") -> dict[int, tuple[int, str, Path]]:
        """Processes that work in the checkout and whose command line has a part."""
        return {
            pid: entry
            for pid, entry in processes().items()
            if entry[2].is_relative_to(self.folder) and part in entry[1] and pid != os.getpid()
        }

    def machine(self) -> set[int]:
        """All that would die with the machine on which the worker runs."""
        everything = processes()
        dying = {self.worker.pid, *self.inside("python")}  # pyright: ignore[reportOptionalMemberAccess]
        while more := {pid for pid, (parent, _, _) in everything.items() if parent in dying} - dying:
            dying |= more
        return dying

    def wait_for_state(self, run: str, allowed: set[str], seconds: float) -> str:
        wait_until(lambda: self.state(run) in allowed, seconds)
        return self.state(run)

    def stop(self) -> None:
        if self.worker is not None and self.worker.poll() is None:
            end(self.worker)


def wait_until(holds: Callable[[], Any], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def kill(site: Site, kind: str) -> None:
    """Kill one process while a slow stage is at work."""
    if not wait_until(lambda: site.inside("python slow.py"), SECONDS_TO_COMPLETE):
        raise RuntimeError(f"no stage began: see {site.folder.parent / 'worker.log'}")
    time.sleep(2)
    if kind == "node":
        for number in (signal.SIGSTOP, signal.SIGKILL):  # all at once, as where a machine dies
            for pid in site.machine():
                os.kill(pid, number)
        return
    everything = processes()
    victims = {
        "worker-term": lambda: (site.worker.pid, signal.SIGTERM),  # pyright: ignore[reportOptionalMemberAccess]
        "worker-kill": lambda: (site.worker.pid, signal.SIGKILL),  # pyright: ignore[reportOptionalMemberAccess]
        "flow-kill": lambda: (everything[min(site.inside("_guard.py"))][0], signal.SIGKILL),
        "stage-kill": lambda: (max(site.inside("python slow.py")), signal.SIGKILL),
    }
    os.kill(*victims[kind]())


KINDS = ("worker-term", "worker-kill", "flow-kill", "stage-kill", "node")


def disturb(site: Site, kind: str, number: int) -> dict[str, Any]:
    """One kill, and the run after it."""
    run = site.begin_run(f"{number}a")
    kill(site, kind)
    killed = time.monotonic()
    # A stage that is killed is tried again by the same run, which has its processes by right until it ends.
    orphans = wait_and_list(site) if kind != "stage-kill" else None
    state = site.wait_for_state(run, SETTLED, SECONDS_TO_SETTLE)
    settled = time.monotonic() - killed
    orphans = wait_and_list(site) if orphans is None else orphans
    following = site.wait_for_state(site.begin_run(f"{number}b"), SETTLED, SECONDS_TO_COMPLETE)
    made = f"{number}b" * 1000
    report = site.folder / "report"
    return {
        "kind": kind, "orphans": orphans, "state": state, "settled_seconds": round(settled, 1),
        "next": following, "output_equal": report.exists() and report.read_text() == f"{made}left{made}right",
    }  # fmt: skip


def wait_and_list(site: Site) -> list[str]:
    wait_until(lambda: not site.inside("python"), SECONDS_TO_CLEAR)
    return [words for _, words, _ in site.inside("python").values()]


def kills(*, times: int = 5, kinds: Sequence[str] = KINDS, out: Path = Path("benchmarks/kills.json")) -> None:
    """Kill each kind of process some times, and write one row per kill."""
    # A shell ignores it for what it starts in the background, and a worker that ignores it does not end at a SIGTERM.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        with local_prefect(Path(scratch)) as environment:
            site = Site(Path(scratch) / "checkout", environment)
            try:
                for number in range(times):
                    for kind in kinds:
                        rows.append(disturb(site, kind, 10 * number + kinds.index(kind)))
                        say(json.dumps(rows[-1]))
                        out.write_text(json.dumps(rows, indent=1) + "\n")
            finally:
                site.stop()
    print(f"{'kind':12} kills orphans running next-completed outputs-equal longest-to-settle")
    for kind in kinds:
        of_kind = [row for row in rows if row["kind"] == kind]
        print(
            f"{kind:12} {len(of_kind):5} {sum(len(row['orphans']) for row in of_kind):7}"
            f" {sum(row['state'] not in SETTLED for row in of_kind):7}"
            f" {sum(row['next'] == 'COMPLETED' for row in of_kind):14}"
            f" {sum(row['output_equal'] for row in of_kind):13}"
            f" {max(row['settled_seconds'] for row in of_kind):17.0f} s"
        )


if __name__ == "__main__":
    run_app(App(name="python -m benchmarks.kills", default_command=kills, version_flags=[]))
