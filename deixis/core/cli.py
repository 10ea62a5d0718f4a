"""From a stage's function to its command line: typed options, `--help`, and errors as one message."""

import gc
import importlib.util
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from cyclopts import App

from deixis.core.code_list import LISTER, held_to_its_code
from deixis.core.errors import ConfigError, DataError
from deixis.core.freed_memory import keep_freed_memory

CLUSTER = "DEIXIS_CLUSTER"


def run_stage(stage: Callable[..., Any]) -> None:
    """Parse the command line by the signature of `stage` and run it, elsewhere where DEIXIS_CLUSTER says so.

    Exit codes: 0 done, 2 wrong configuration, 65 bad data; anything else is our bug and shows its traceback.
    """
    module = _module_name() if stage.__module__ == "__main__" else stage.__module__
    if module != LISTER:  # by whose list the nodes are compared with this checkout
        go_to_cluster(module)
    app = App(name=f"python -m {module}", version_flags=[])
    app.default(held_to_its_code(stage, module))
    run_app(app)


def go_to_cluster(module: str) -> None:
    """Where DEIXIS_CLUSTER names one, become the program that runs the same command line there, and never return."""
    if not os.environ.get(CLUSTER) or {"--help", "-h"}.intersection(sys.argv):
        return
    if importlib.util.find_spec("pipelines") is None:
        print(
            f"error: {CLUSTER} is set, but there is no pipelines.cluster here, which runs stages elsewhere. Run from "
            f"the root of a checkout, or unset {CLUSTER}",
            file=sys.stderr,
        )
        sys.exit(ConfigError.exit_code)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pipelines.cluster", module, *sys.argv[1:]])


def run_app(app: App) -> None:
    """Run a command line, with the exit codes of `run_stage`."""
    gc.enable()  # stages/__init__.py
    keep_freed_memory()
    spell_out_unknown(sys.stdout)
    # A device backend may not be deterministic without this, and must read it before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        app(exit_on_error=True)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # who reads has seen enough: `deixis scan FOLDER | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def spell_out_unknown(stream: object) -> None:
    """Let letters that a terminal's encoding lacks appear by their numbers; they would end the command."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _module_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else "stage"
