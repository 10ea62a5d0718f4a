"""The graph as a flow of Prefect's. Imported once its settings are known to be sound: importing Prefect reads them."""

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines._dvc import Runner, StageFailed, StageOutcome, metrics_diff, plan


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
    return outcomes
