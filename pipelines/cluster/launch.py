"""A stage on a cluster, from its command line to its exit code."""

import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deixis.core.cli import CLUSTER
from deixis.core.pieces import NO_PIECE, PIECE
from pipelines import _guard
from pipelines.cluster.body import OF_THE_NODE, Job, checksum
from pipelines.cluster.nodes import connect, living
from pipelines.cluster.resources import COMMANDS, needs_of, refuse_unfit
from pipelines.cluster.tasks import Task, Tasks
from pipelines.training_ranks import train_together

TRIES = 3  # of a share of pieces, after its node was lost


def launch(module: str, arguments: Sequence[str]) -> int:
    """Run a stage, first its pieces where it has some; its exit code.

    Raises:
        ConfigError: If there is no such cluster, it lacks what the stage asks for, or a node cannot see the checkout.
        LostError: If the cluster lost it.
    """
    stage = os.environ.get("DVC_STAGE", "")
    needs = needs_of(module, stage)
    if needs.ranks > 1:
        return train_together([module, *arguments], ranks=needs.ranks, cpus=round(needs.cpus) or 1)
    ray = connect(os.environ[CLUSTER])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cancels like Ctrl-C; Ray has set its own
    try:
        nodes = living(ray)
        needs = needs.settled(nodes)
        refuse_unfit(needs, nodes, stage or module)
        tasks = Tasks(ray, needs, stage or module)
        with tempfile.NamedTemporaryFile(dir=Path.cwd(), prefix=".deixis-cluster-") as stamp:
            job = _job(module, arguments, stamp.name, has_gpu=bool(needs.gpus))
            shares = needs.shares(nodes) if needs.pieces else 1
            if shares > 1 and module in COMMANDS and (code := tasks.run([Task(_with_piece(job, NO_PIECE))])):
                return code
            for _ in range(needs.pieces if shares > 1 else 0):
                if code := tasks.run([_share(job, share, shares) for share in range(shares)]):
                    return code
            return tasks.run([Task(job)])
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        ray.shutdown()


def _job(module: str, arguments: Sequence[str], stamp: str, *, has_gpu: bool) -> Job:
    folder = str(Path.cwd())
    left_out = {CLUSTER, PIECE, *OF_THE_NODE}
    return Job(
        ("-m", module, *arguments), folder, stamp, checksum(folder), str(Path(_guard.__file__).resolve()),
        {name: value for name, value in os.environ.items() if name not in left_out and not name.startswith("RAY_")},
        has_gpu,
    )  # fmt: skip


def _share(job: Job, share: int, shares: int) -> Task:
    return Task(_with_piece(job, f"{share}/{shares}"), f"[{share + 1}/{shares}]", TRIES)


def _with_piece(job: Job, piece: str) -> Job:
    return replace(job, environment=job.environment | {PIECE: piece})
