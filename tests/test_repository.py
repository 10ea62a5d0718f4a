"""What a stranger relies on: the README's two commands, the lock file, sizes of files, names that are used."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ("deixis", "models", "training", "answering", "stages", "commands", "pipelines", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
]


def test_readme_carries_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    assert "pip install -q uv && uv run dvc repro" in readme
    assert "pip install -q uv && uv run pytest" in readme


def test_the_lock_names_versions_and_hashes_and_no_address():
    lock = (ROOT / "requirements.lock").read_text()
    assert re.search(r"^torch==\d", lock, re.MULTILINE)
    assert lock.count("--hash=sha256:") > 100
    assert "://" not in lock


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path):
    limit = 350 if path.is_relative_to(ROOT / "models") else 260
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_stage_headers_say_what_is_read_written_and_run(path):
    header = ast.get_docstring(ast.parse(path.read_text()))
    for word in ("reads ", "writes ", "run "):
        assert word in header
