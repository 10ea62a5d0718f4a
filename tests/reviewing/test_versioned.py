"""Decisions under DVC and Git, by the very commands of docs/corrections.md."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from reviewing.log import DecisionLog
from reviewing.table import read_decisions, write_decisions
from tests.commands.test_take_decisions import STOOD

ROOT = Path(__file__).parents[2]
TABLE = Path("data/decisions/scenes_plus/decisions.parquet")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty one with our rules of what Git ignores."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    for key, value in (("user.name", "ann"), ("user.email", "ann@x.org"), ("commit.gpgsign", "false")):
        git("config", key, value)
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text((ROOT / ".dvc/config").read_text())
    git("add", ".gitignore")
    return tmp_path


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


def test_the_commands_of_the_page_version_the_table_and_nothing_else(checkout):
    with DecisionLog(TABLE.with_name("log.sqlite")) as log:
        log.append([STOOD])
        write_decisions(log.standing().values(), TABLE)
    page = (ROOT / "docs/corrections.md").read_text()
    (block,) = re.findall(r"```bash\n(.+?)```", page, re.DOTALL)
    for words in map(shlex.split, block.strip().splitlines()):
        command = [sys.executable, "-m", *words] if words[0] == "dvc" else words
        subprocess.run(command, check=True, capture_output=True)
    assert git("ls-files", "data").split() == [f"{TABLE}.dvc"]
    assert git("status", "--porcelain", "data") == ""

    write_decisions([], TABLE)  # another table replaces it, and leaves DVC's copy alone
    with Repo() as repo:
        repo.checkout(str(TABLE), force=True)
    assert read_decisions(TABLE) == [STOOD]
