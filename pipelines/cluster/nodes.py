"""A cluster: reached within seconds or refused in one message, and what its nodes have."""

import os
import re
import socket
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from deixis.core.errors import ConfigError
from deixis.core.foreign import first_words

LOCAL = "local"
SECONDS_TO_ANSWER = 10.0
SECONDS_TO_JOIN = 30.0
WITHOUT = "To do without a cluster: unset DEIXIS_CLUSTER"
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, Ray would send the whole folder to every node
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of a worker that dies after the last record of its task: nobody asks it more
    "RAY_gcs_rpc_server_connect_timeout_s": "10",
}
OBJECTS = 80 << 20  # bytes of memory for Ray's objects on one machine; messages alone are sent


@dataclass(frozen=True)
class Node:
    """A node that lives, and all that it has; memory in bytes."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory: float

    def __str__(self) -> str:
        return f"{self.name} {{gpus: {self.gpus:g}, cpus: {self.cpus:g}, memory: {self.memory / 1e9:.3g}GB}}"


def connect(address: str, **options: Any) -> Any:
    """Join a cluster, or start one on this machine; returns Ray.

    Args:
        options: More of `ray.init`.

    Raises:
        ConfigError: If Ray is not installed, or nobody answers there.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
    if address != LOCAL:
        _knock(address)
    ray = import_ray()
    options = {"log_to_driver": False, "logging_level": "ERROR"} | options
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": OBJECTS}
    deadline = threading.Timer(SECONDS_TO_JOIN, _give_up, [address])  # Ray waits in places that no signal reaches
    deadline.daemon = True
    if address != LOCAL:  # a busy machine may take a minute to start one
        deadline.start()
    try:
        ray.init(address=address, **options)
    except (Exception, SystemExit) as error:
        raise ConfigError(_no_cluster(address, first_words(error))) from None
    finally:
        deadline.cancel()
    return ray


def import_ray() -> Any:
    """Ray, which only the extra installs.

    Raises:
        ConfigError: If it is not there.
    """
    try:
        return import_module("ray")
    except ModuleNotFoundError:
        raise ConfigError(
            f"DEIXIS_CLUSTER is set, but Ray is not installed. Run: uv sync --extra cluster. {WITHOUT}"
        ) from None


def living(ray: Any) -> list[Node]:
    """The nodes that are there now."""
    return [
        Node(
            node["NodeID"], f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            *(node["Resources"].get(name, 0.0) for name in ("CPU", "GPU", "memory")),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]  # fmt: skip


def _knock(address: str) -> None:
    match = re.fullmatch(r"\[?([\w.:-]+?)\]?:(\d+)", address)
    if not match:
        raise ConfigError(
            f'DEIXIS_CLUSTER is "{address}". Allowed: HOST:PORT of a cluster that `ray start --head` tells, or local, '
            f"for this machine alone. {WITHOUT}"
        )
    try:
        socket.create_connection((match[1], int(match[2])), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(_no_cluster(address, first_words(error))) from None


def _no_cluster(address: str, reason: str) -> str:
    if address == LOCAL:
        return f"Ray does not start on this machine ({reason}). {WITHOUT}"
    return (
        f"DEIXIS_CLUSTER is {address}, where no cluster takes us in ({reason}). On its first node: ray start --head "
        f"--port=6379; on the others, and here: ray start --address={address}. {WITHOUT}"
    )


def _give_up(address: str) -> None:
    """End the process where Ray itself does not: it holds the main thread."""
    message = _no_cluster(address, f"nothing that Ray understands was heard for {SECONDS_TO_JOIN:.0f} seconds")
    os.write(2, f"error: {message}\n".encode())
    os._exit(ConfigError.exit_code)
