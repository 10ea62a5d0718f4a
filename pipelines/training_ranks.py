"""One training over several processes, on one machine or many: a stage that trains, under Ray Train.

run     python -m pipelines.training_ranks --ranks 2 stages.train_student --student simrec ...
"""

import contextlib
import json
import logging
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TextIO

from cyclopts import App, Parameter

from deixis.core.cli import CLUSTER, run_app
from deixis.core.errors import ConfigError
from pipelines.cluster.nodes import LOCAL, connect

STAGES = tuple(f"stages.train_{what}" for what in ("teacher", "map_teacher", "student", "upper_bound"))
SECONDS_TO_ANSWER = 10.0
SCRATCH = Path("scratch/training_ranks")
RETRIES = 3  # after a process or its node was lost; training goes on from its last saved state
END = "end-{}.json"
MAY_PASS = 75  # exit code of a stage that may do better later
SETTINGS = {  # beside those of pipelines/cluster/nodes.py
    "RAY_COLOR_PREFIX": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # else every line comes twice
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
ASKS_IN_VAIN = "ray.train.v2._internal.execution.controller.placement_group_cleaner"  # every second, for a dashboard
OF_THE_NODE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "DEIXIS_CLUSTER", "OMP_NUM_THREADS")


def main(
    stage: str,
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    ranks: int,
    cpus: int = 1,
) -> None:
    """Run a stage that trains in several processes at once; exits as the stage does.

    Args:
        stage: Its module.
        arguments: Its own.
        ranks: Number of processes. Each has a GPU where there are as many.
        cpus: Cores of each process.
    """
    sys.exit(train_together([stage, *arguments], ranks=ranks, cpus=cpus))


def train_together(command: list[str], *, ranks: int, cpus: int) -> int:
    """Run a stage in several processes, where DEIXIS_CLUSTER says or on this machine; its exit code.

    Raises:
        ConfigError: If it is no stage that trains, or there is no such cluster, or it is too small.
    """
    if command[0] not in STAGES:
        raise ConfigError(f"{command[0]} is no stage that several processes share. Allowed: {', '.join(STAGES)}")
    if ranks < 1 or cpus < 1:
        raise ConfigError(f"--ranks {ranks} --cpus {cpus}. Allowed: one or more of each")
    os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
    address = os.environ.get(CLUSTER) or LOCAL
    ray = connect(address, log_to_driver=True, runtime_env={"worker_process_setup_hook": set_up})
    try:
        has_gpus = refuse_unfit(ray.cluster_resources(), ranks=ranks, cpus=cpus)
        SCRATCH.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            end = train(command, Path(folder).resolve(), ranks=ranks, cpus=cpus, has_gpus=has_gpus)
    finally:
        ray.shutdown()
    if end["line"]:
        print(end["line"], file=sys.stderr)
    return end["code"]


def set_up() -> None:
    """In each process of Ray: know one's own cluster among several, and leave out what only Ray's authors could use."""
    os.environ["RAY_ADDRESS"] = import_module("ray").get_runtime_context().gcs_address
    logging.getLogger(ASKS_IN_VAIN).setLevel(logging.ERROR)


def refuse_unfit(has: Mapping[str, float], *, ranks: int, cpus: int) -> bool:
    """Stop where the cluster is too small; whether each process can have a GPU.

    Raises:
        ConfigError: If so; Ray would wait for nodes to join.
    """
    if has.get("CPU", 0) < ranks * cpus:
        raise ConfigError(
            f"{ranks} processes of {cpus} cores each, but the cluster has {has.get('CPU', 0):g} cores in all. Lower "
            "--ranks or --cpus, or add nodes"
        )
    return has.get("GPU", 0) >= ranks


def train(command: list[str], folder: Path, *, ranks: int, cpus: int, has_gpus: bool) -> dict[str, Any]:
    """Run a stage in a group of processes, again where one of them was lost; its exit code, and its last message.

    Args:
        folder: For what processes leave to say.
    """
    settings, torch_settings = import_module("ray.train"), import_module("ray.train.torch")
    resources = {"CPU": cpus, **({"GPU": 1} if has_gpus else {})}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    trainer = torch_settings.TorchTrainer(
        run_rank,
        train_loop_config={
            "command": command,
            "checkout": str(Path.cwd()),
            "ends": str(folder),
            "environment": {name: value for name, value in environment.items() if name not in OF_THE_NODE},
        },
        torch_config=torch_settings.TorchConfig(backend="nccl" if has_gpus else "gloo"),
        scaling_config=settings.ScalingConfig(num_workers=ranks, use_gpu=has_gpus, resources_per_worker=resources),
        run_config=settings.RunConfig(
            storage_path=str(folder),
            failure_config=settings.FailureConfig(max_failures=RETRIES),
            logging_config=settings.LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        trainer.fit()
    except settings.TrainingFailedError as error:
        failures = [type(failure).__name__ for failure in getattr(error, "worker_failures", {}).values()]
        lost = not failures or any(name.startswith("WorkerHealthCheck") for name in failures)
        line = f"error: {command[0]} failed {RETRIES + 1} times; what each process said last is above"
        return {"code": MAY_PASS if lost else 1, "line": line}
    ends = sorted(folder.glob(END.format("*")))
    return json.loads(ends[0].read_text()) if ends else {"code": 0, "line": ""}


def run_rank(job: dict[str, Any]) -> None:
    """In one process of the group: run the stage as its program would be; what it ends with is written down.

    Ray starts a group again where one process fails, which also ends the others, wherever they wait for it. A stage
    that refused what it was given would refuse it again: where all did so nothing fails, else nothing is done then.
    """
    os.chdir(job["checkout"])
    sys.path.insert(0, job["checkout"])
    os.environ.update(job["environment"])
    os.environ.pop("DEIXIS_CLUSTER", None)  # the stage would be sent away once more
    ends = Path(job["ends"])
    if list(ends.glob(END.format("*"))):
        return
    torch, ray_torch = import_module("torch"), import_module("ray.train.torch")
    if (device := ray_torch.get_device()).type == "cuda":
        torch.cuda.set_device(device)
    stage, *arguments = job["command"]
    sys.argv = ["-m", *arguments]
    heard = _Heard(sys.stderr)
    try:
        with contextlib.redirect_stderr(heard):  # pyright: ignore[reportArgumentType]  # it is written to, no more
            runpy.run_module(stage, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
        if code in (0, MAY_PASS):
            return _fail_unless(not code, f"{stage} ended with {code}")
        _leave(ends, torch.distributed.get_rank(), code, heard.last_error)
        _fail_unless(_all_there(ends, torch.distributed.get_world_size()), f"{stage} ended with {code}")
    except RuntimeError:  # of torch, as where another process is lost: it may do better the next time
        raise
    except Exception as error:
        _leave(ends, torch.distributed.get_rank(), 1, f"error: {type(error).__name__}: {error}")
        raise


def _leave(ends: Path, rank: int, code: int, line: str) -> None:
    (ends / END.format(rank)).write_text(json.dumps({"code": code, "line": line}))


def _fail_unless(is_well: bool, what: str) -> None:
    if not is_well:
        raise RuntimeError(what)


def _all_there(ends: Path, ranks: int) -> bool:
    """Whether every process ends as this one does, within some seconds."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while (found := len(list(ends.glob(END.format("*"))))) < ranks and time.monotonic() < deadline:
        time.sleep(0.1)
    return found == ranks


class _Heard:
    """A stream that goes on to another, and remembers the last message of an error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.last_error = stream, ""

    def write(self, text: str) -> int:
        if text.startswith("error: "):
            self.last_error = text.strip()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


if __name__ == "__main__":
    run_app(App(name="python -m pipelines.training_ranks", default_command=main, version_flags=[]))
