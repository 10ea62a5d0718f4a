"""Bring the whole graph up to date under Prefect: independent stages side by side, retries, one table of outcomes.

run     uv run python -m pipelines.rebuild [--workers 2] [--settings seed=1] [--push] [--commit results] [STAGE ...]
"""

import signal
from collections.abc import Sequence

from cyclopts import App

from deixis.core.cli import run_app
from pipelines._driver import driving
from pipelines._graph import stale_stages
from pipelines._prefect import reach_server, refuse_wrong_settings
from pipelines._settings import experiment


def main(
    *targets: str, workers: int = 2, settings: Sequence[str] = (), push: bool = False, commit: str | None = None
) -> None:
    """Rebuild the graph; prints one line per stage that was stale, or lay below a stale one.

    Args:
        targets: As `dvc repro` takes them; all stages by default.
        workers: Stages side by side.
        settings: Other values in params.yaml for this run alone, as seed=1.
        push: Copy the results to DVC's default remote afterwards.
        commit: Branch for a commit of the results, made for review; the checkout stays on its own.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cancels like Ctrl-C
    with driving(), experiment(settings):
        stale = stale_stages(targets)  # a name that DVC does not know stops here, before a server starts
    if not (stale or push or commit):
        print("up to date")
        return
    refuse_wrong_settings()
    # Only now: Prefect takes longer to import, and a server longer to start, than all of the above
    from pipelines.flow import rebuild

    reach_server()
    for outcome in rebuild(targets, workers, settings, push, commit):
        print(f"{outcome.action:9} {outcome.name}")


if __name__ == "__main__":
    run_app(App(name="python -m pipelines.rebuild", default_command=main, version_flags=[]))
