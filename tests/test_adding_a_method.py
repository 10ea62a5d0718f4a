"""The three steps are all: a teacher and a student from docs/adding-a-method.md play their roles in a checkout.

`.ci/run` runs the whole test command there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.added_methods import blocks, follow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    if (ROOT / "models/teachers/nearest.py").exists():
        pytest.skip("the page has been followed in this very checkout")
    folder = tmp_path_factory.mktemp("added") / "deixis"
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), listed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_two_files_two_lines_and_one_entry_each(checkout):
    before = {path: path.read_text().splitlines() for path in checkout.rglob("*.*") if path.suffix in (".py", ".yaml")}
    changed = follow(checkout)
    new = [name for name in changed if checkout / name not in before]
    assert new == ["models/students/plain.py", "models/teachers/nearest.py"]
    assert set(changed) - set(new) == {"models/students/__init__.py", "models/teachers/__init__.py", "params.yaml"}
    for registry in ("models/students/__init__.py", "models/teachers/__init__.py"):
        assert len((checkout / registry).read_text().splitlines()) == len(before[checkout / registry]) + 1
    assert len(blocks()) == 8  # for each: file, line, entry, name


@pytest.mark.slow
def test_they_play_their_roles(checkout):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "tests/contracts/test_roles.py", "-k", "nearest or plain"],
        cwd=checkout, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) == 2
