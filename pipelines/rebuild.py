"""Bring the whole graph up to date under Prefect: independent stages side by side, retries, one table of outcomes.

run     uv run python -m pipelines.rebuild [--workers 2] [STAGE ...]
"""

import os
import signal

from cyclopts import App

from deixis.core.cli import run_app
from pipelines._dvc import plan, refuse_broken_lock
from pipelines._prefect import STARTUP, reach_server, refuse_wrong_settings


def main(*targets: str, workers: int = 2) -> None:
    """Rebuild the graph; prints one line per stage."""
    refuse_broken_lock()
    if targets:
        plan(targets)  # a name that DVC does not know stops here, before a server starts
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault(STARTUP, "120")  # 20 are too few on busy cores
    refuse_wrong_settings()
    reach_server()
    from pipelines._flow import rebuild

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cancels like Ctrl-C
    for outcome in rebuild(targets, workers):
        print(f"{outcome.action:9} {outcome.name}")


if __name__ == "__main__":
    run_app(App(name="python -m pipelines.rebuild", default_command=main, version_flags=[]))
