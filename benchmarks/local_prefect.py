"""A Prefect server of one's own on this machine, with an empty database, for tests and measurements."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS_TO_END = 15.0
SECONDS_TO_START = 120.0


@contextmanager
def local_prefect(home: Path, **settings: str) -> Iterator[dict[str, str]]:
    """Start a server and stop it again; yields the environment in which programs reach it and our code.

    Args:
        home: A folder for its database and log.
        settings: More variables for the server and for whoever reaches it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
    }
    environment |= settings
    with serving(environment, port, home / "server.log"):
        yield environment


@contextmanager
def serving(environment: dict[str, str], port: str, log: Path) -> Iterator[None]:
    """Run the server of an environment that names its address."""
    with log.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--host", "127.0.0.1", "--port", port],
            env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_healthy(environment["PREFECT_API_URL"], log)
        yield
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask one of Prefect's programs to end; now and then it hears that and stays."""
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_healthy(url: str, log: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health"):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise TimeoutError(f"no server within {SECONDS_TO_START:.0f} s:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.2)
