"""Checkouts of small graphs, and docs/cluster.md as a list of commands."""

import re
import shlex
from pathlib import Path

from tests.dvc_folder import init_dvc

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cluster.md").read_text()


def commands(kind: str) -> list[list[str]]:
    """Words of every command in blocks of a kind: `bash` are run by the tests, `sh` are not."""
    blocks = re.findall(rf"```{kind}\n(.+?)```", PAGE, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def init(folder: Path, graph: str) -> Path:
    """A new folder with a graph in it."""
    folder.mkdir(parents=True, exist_ok=True)
    init_dvc(folder)
    (folder / "dvc.yaml").write_text(graph)
    return folder
