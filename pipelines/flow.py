"""The flow that Prefect runs and schedules: stale stages and all below them, side by side, with retries.

run     python -m pipelines.rebuild, or as a deployment (docs/cluster.md)
"""

from collections.abc import Sequence
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines._comparison import comparison
from pipelines._driver import driving
from pipelines._dvc import metrics_diff, push_everything, refuse_missing_remote
from pipelines._graph import LIST_CODE, StageNode, plan, stale_and_below, stale_stages
from pipelines._prefect import end_with_worker
from pipelines._review import commit_results, refuse_review
from pipelines._runner import Runner, StageFailed, StageOutcome
from pipelines._settings import experiment

WAITS = (5.0, 30.0, 120.0)  # seconds before each new attempt of a stage
SERVER_WAITS = [30.0] * 20


def may_pass_later(_task: Any, _run: Any, state: Any) -> bool:
    """Retry only what can pass the second time."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, StageFailed) and failure.may_pass_later


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=may_pass_later)
def bring_up_to_date(name: str, runner: Runner) -> StageOutcome:
    """One stage: `dvc --wait-for-lock repro -s NAME`."""
    outcome = runner.run(name)
    get_run_logger().info("%s: %s", name, outcome.action)
    return outcome


@task(cache_policy=NO_CACHE, persist_result=False, retries=len(SERVER_WAITS), retry_delay_seconds=SERVER_WAITS)
def report(outcomes: Sequence[StageOutcome], metrics: str, compared: str) -> None:
    """Leave a table of the stages, and what changed against the last commit: the metrics, and all that pairs."""
    create_table_artifact([{"stage": o.name, "action": o.action} for o in outcomes], key="stages")
    create_markdown_artifact(metrics, key="metrics-diff")
    create_markdown_artifact(compared, key="comparison")


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=60)
def push_results() -> None:
    """Copy results, and DVC's list of what they come from, to the remote."""
    get_run_logger().info(push_everything())


@flow(name="rebuild")
def rebuild(
    targets: Sequence[str] = (), workers: int = 2, settings: Sequence[str] = (), push: bool = False,
    commit: str | None = None, waits: Sequence[float] = WAITS,
) -> list[StageOutcome]:  # fmt: skip
    """Bring `targets` (all stages by default) and what they need up to date.

    Args:
        targets: As `dvc repro` takes them.
        workers: Stages side by side.
        settings: Other values in params.yaml for this run alone, as `seed=1`.
        push: Copy the results to DVC's default remote afterwards.
        commit: Branch for a commit of the results, made for review; the checkout stays on its own.
        waits: Seconds before each new attempt of a stage that was killed, or that asked for one by exit code 75.
    """
    end_with_worker()
    tell = get_run_logger().info
    if push:
        refuse_missing_remote()
    if commit:
        refuse_review(commit, settings)
    with driving(tell=tell), experiment(settings):
        outcomes = bring_all_up_to_date(targets, workers, Runner(tell), waits)
        report(outcomes, metrics_diff(), comparison())
        if push:
            push_results()
        if commit:
            tell(commit_results(commit))
    return outcomes


def bring_all_up_to_date(
    targets: Sequence[str], workers: int, runner: Runner, waits: Sequence[float]
) -> list[StageOutcome]:
    """Run what is stale and all below it; first the list of code, which says what else is stale."""
    stale, listed = stale_stages(targets), []
    if LIST_CODE in stale:
        listed = run_side_by_side([StageNode(LIST_CODE, ())], 1, runner, waits)
        stale = stale_stages(targets)
    nodes = stale_and_below(plan(targets), stale) if stale else []
    return listed + run_side_by_side(nodes, workers, runner, waits)


def run_side_by_side(
    nodes: Sequence[StageNode], workers: int, runner: Runner, waits: Sequence[float]
) -> list[StageOutcome]:
    """Run stages in the order of their inputs.

    A stage goes to the pool when all that it needs is there: one that waited inside would hold a worker meanwhile.
    """
    futures: dict[str, Any] = {}
    running: dict[Any, str] = {}
    done: set[str] = set()
    attempt = bring_up_to_date.with_options(retries=len(waits), retry_delay_seconds=list(waits))
    with ThreadPoolTaskRunner(max_workers=workers) as pool:
        try:
            while len(done) < len(nodes):
                for node in nodes:
                    if node.name not in futures and done.issuperset(node.upstream):
                        needs = [futures[name] for name in node.upstream]  # for Prefect's drawing of the graph
                        future = pool.submit(attempt, {"name": node.name, "runner": runner}, wait_for=needs)
                        futures[node.name], running[future] = future, node.name
                ended = next(as_completed(list(running)))
                ended.result()  # raises where the stage failed
                done.add(running.pop(ended))
            return [futures[node.name].result() for node in nodes]
        except BaseException:
            runner.stop()  # a cancelled or failed run leaves no child behind, and its pool waits for none
            raise
