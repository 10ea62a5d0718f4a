"""DVC as a program: the environment it gets, what it is asked, and its own words where it refuses."""

import os
import subprocess
import sys
from pathlib import Path

from deixis.core.errors import ConfigError

TMP = Path(".dvc/tmp")  # of the checkout that is driven
# Stages side by side share the cores: threads that wait must sleep and not spin. Their number, and with it every
# result, stays the same.
SHARED_CORES = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def command(*arguments: str) -> list[str]:
    """A DVC command line that waits where another holds the repository for a moment."""
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def environment() -> dict[str, str]:
    """Ours, with the programs of this Python first: stages say `python`, and a worker may know no PATH to one."""
    programs = str(Path(sys.executable).parent)
    return os.environ | SHARED_CORES | {"PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])}


def ask(*arguments: str, remedy: str = "All stages: dvc stage list --name-only") -> str:
    """Run DVC and return what it prints.

    Raises:
        ConfigError: DVC's own message, and the remedy.
    """
    finished = subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True)
    if finished.returncode:
        message = finished.stderr.strip().removeprefix("ERROR: ")
        raise ConfigError(f"dvc {' '.join(arguments)}: {message}. {remedy}")
    return finished.stdout


def metrics_diff() -> str:
    """What changed against the last commit, as Markdown, or why that cannot be told."""
    try:
        return ask("metrics", "diff", "--md", remedy="Compared is with the last commit of a Git repository")
    except ConfigError as error:
        return str(error)


def refuse_missing_remote() -> None:
    """Stop where results are to be pushed and there is no place for them.

    Raises:
        ConfigError: If no remote is the default one.
    """
    if not ask("config", "core.remote").strip():
        raise ConfigError("no remote to push to. Name one: dvc remote add -d NAME ADDRESS; or run without push")


def push_everything() -> str:
    """Copy results, and DVC's list of what they come from, to the default remote."""
    return ask("push", "--run-cache", remedy="See where that is, and who may write there: dvc remote list")
