"""Bring the whole graph up to date under Prefect: independent stages side by side, retries, one table of outcomes.

run     uv run python -m pipelines.rebuild [--workers 2] [STAGE ...]
"""

import os
import signal
from typing import Any

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")  # 20 are too few on busy cores

from cyclopts import App
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from deixis.core.cli import run_app
from pipelines._dvc import Runner, StageFailed, StageOutcome, comparison, metrics_diff, plan, refuse_broken_lock
from pipelines._prefect import reach_server


def may_pass_later(_task: Any, _run: Any, state: Any) -> bool:
    """Retry only what can pass the second time."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, StageFailed) and failure.may_pass_later


@task(
    task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5,
    retry_condition_fn=may_pass_later,
)  # fmt: skip
def bring_up_to_date(name: str, runner: Runner) -> StageOutcome:
    """One stage: `dvc --wait-for-lock repro -s NAME`."""
    outcome = runner.run(name)
    get_run_logger().info("%s: %s", name, outcome.action)
    return outcome


@flow(name="rebuild")
def rebuild(targets: tuple[str, ...] = (), workers: int = 2) -> list[StageOutcome]:
    """Bring `targets` (all stages by default) and what they need up to date.

    A stage goes to the pool when all that it needs is there: one that waited inside would hold a worker meanwhile.
    """
    runner = Runner()
    nodes = plan(targets)
    futures: dict[str, Any] = {}
    running: dict[Any, str] = {}
    done: set[str] = set()
    submit = bring_up_to_date.with_options()
    with ThreadPoolTaskRunner(max_workers=workers) as pool:
        try:
            while len(done) < len(nodes):
                for node in nodes:
                    if node.name not in futures and done.issuperset(node.upstream):
                        waits = [futures[name] for name in node.upstream]  # for Prefect's drawing of the graph
                        future = pool.submit(submit, {"name": node.name, "runner": runner}, wait_for=waits)
                        futures[node.name], running[future] = future, node.name
                ended = next(as_completed(list(running)))
                ended.result()  # raises where the stage failed
                done.add(running.pop(ended))
            outcomes = [futures[node.name].result() for node in nodes]
        except BaseException:
            runner.stop()  # a cancelled or failed run leaves no child behind
            raise
    create_table_artifact([{"stage": o.name, "action": o.action} for o in outcomes], key="stages")
    create_markdown_artifact(metrics_diff() or "No metric changed.", key="metrics-diff")
    create_markdown_artifact(comparison(), key="comparison")
    return outcomes


def main(*targets: str, workers: int = 2) -> None:
    """Rebuild the graph; prints one line per stage."""
    refuse_broken_lock()
    if targets:
        plan(targets)  # a name that DVC does not know stops here, before a server starts
    reach_server()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cancels like Ctrl-C
    for outcome in rebuild(targets, workers):
        print(f"{outcome.action:9} {outcome.name}")


if __name__ == "__main__":
    run_app(App(name="python -m pipelines.rebuild", default_command=main, version_flags=[]))
