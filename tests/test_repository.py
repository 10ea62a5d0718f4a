"""What a stranger relies on: the README's two commands, the lock file, sizes of files, names that are used."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in (
        "deixis",
        "models",
        "training",
        "answering",
        "reviewing",
        "stages",
        "commands",
        "claims",
        "pipelines",
        "benchmarks",
    )
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


LINES = {"median function": 8, "function at the 95th percentile": 25, "longest function": 60, "longest file": 300}


def test_functions_and_files_stay_small():
    """Beyond a limit the message names the longest, which are the ones to part."""
    sizes = sorted(
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    files = sorted((len(path.read_text().splitlines()), str(path.relative_to(ROOT))) for path in SOURCES)
    measured = {
        "median function": sizes[len(sizes) // 2],
        "function at the 95th percentile": sizes[int(0.95 * len(sizes))],
        "longest function": sizes[-1],
        "longest file": files[-1],
    }
    longest = "\n".join(f"{lines} lines: {name}" for lines, name in [*sizes[-15:], *files[-5:]])
    for what, limit in LINES.items():
        lines, name = measured[what]
        assert lines <= limit, f"{what}: {lines} lines ({name}), the limit is {limit}. The longest:\n{longest}"


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_stage_headers_say_what_is_read_written_and_run(path):
    header = ast.get_docstring(ast.parse(path.read_text()))
    for word in ("reads ", "writes ", "run "):
        assert word in header


def test_stages_that_compute_no_tensors_do_not_wait_for_torch():
    stages = ["evaluate", "build_report", "check_leakage", "list_code", "prepare", "make_scenes"]
    each = "; ".join(f"import stages.{stage}; print('{stage}', 'torch' in sys.modules)" for stage in stages)
    command = [sys.executable, "-c", f"import sys; {each}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{stage} False" for stage in stages]
