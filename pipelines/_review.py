"""A run's results as a commit on a branch of its own, for review; the checkout, its index and its branch stay."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deixis.core.errors import ConfigError

RESULTS = ("*dvc.lock", "reports")  # what runs write of what Git holds
SUBJECT = "Results of a run"


def refuse_review(branch: str, settings: Sequence[str]) -> None:
    """Stop before a run whose results could not be committed.

    Raises:
        ConfigError: If they would be those of settings or code that the commit does not have, or the branch is taken.
    """
    if settings:
        raise ConfigError(
            f"commit={branch} and settings ({', '.join(settings)}): the commit would have results of other settings "
            "than its params.yaml. Commit the settings and run without them, or run without commit"
        )
    git("check-ref-format", "--branch", branch, remedy="Allowed: a name for a branch, as results")
    if git("rev-parse", "--abbrev-ref", "HEAD") == branch:
        raise ConfigError(f"commit={branch} is the branch that is checked out. Name another, as {branch}-results")
    edited = git("status", "--porcelain", "--untracked-files=no", "--", ".", *(f":!{path}" for path in RESULTS))
    if edited:
        raise ConfigError(
            f"commit={branch}: the results would be those of edits that no commit has: "
            f"{edited.splitlines()[0].strip()}. Commit them, or run without commit"
        )
    tip = _tip(branch)
    if tip and _holds_work(tip):
        raise ConfigError(
            f"commit={branch}: that branch has commits beside results of runs, and its tip would be replaced. Name "
            "another"
        )


def commit_results(branch: str) -> str:
    """Commit what a run wrote on top of HEAD, let `branch` point there, and say so."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git("read-tree", "HEAD", env=index)
        git("add", "--all", "--", *RESULTS, env=index)
        tree = git("write-tree", env=index)
    head = git("rev-parse", "HEAD")
    if tree == git("rev-parse", "HEAD^{tree}"):
        return f"nothing to review: the results are those of {head[:10]}"
    message = f"{SUBJECT}\n\nOf the code and settings of {head}. To compare: deixis compare {head[:10]} {branch}"
    commit = git(
        "commit-tree", tree, "-p", head, "-m", message,
        remedy="Say who commits: git config user.name NAME; git config user.email ADDRESS",
    )  # fmt: skip
    git("update-ref", f"refs/heads/{branch}", commit)
    return f"{commit[:10]} on {branch}: deixis compare {head[:10]} {branch}"


def git(*arguments: str, env: dict[str, str] | None = None, remedy: str = "") -> str:
    """Run Git and return what it prints.

    Raises:
        ConfigError: Git's own message, and the remedy.
    """
    finished = subprocess.run(["git", *arguments], env=os.environ | (env or {}), capture_output=True, text=True)
    if finished.returncode:
        said = finished.stderr.strip().removeprefix("fatal: ")
        raise ConfigError(f"git {' '.join(arguments[:2])}: {said}. {remedy}".rstrip(" ."))
    return finished.stdout.strip()


def _tip(branch: str) -> str:
    return git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")


def _holds_work(tip: str) -> bool:
    """Whether the commit is neither one of ours nor known to HEAD."""
    if git("log", "-1", "--format=%s", tip) == SUBJECT:
        return False
    return git("rev-list", "-1", tip, "--not", "HEAD") != ""
