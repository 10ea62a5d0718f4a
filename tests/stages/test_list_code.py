"""The list of code: what is told about a change, and stages that refuse code that is not as listed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STAGE = '''"""Wait for a file if asked to, then write."""

import time
from pathlib import Path

from deixis.core.cli import run_stage
from deixis.core.registry import resolve
from models.teachers import TEACHERS


def draw(*, out: Path, teacher: str = "", wait: Path | None = None) -> None:
    """Draw."""
    if teacher:
        resolve(TEACHERS, teacher, role="teacher")
    if wait:
        out.with_suffix(".started").touch()
        while not wait.exists():
            time.sleep(0.05)
    out.write_text("drawn")


if __name__ == "__main__":
    run_stage(draw)
'''


@pytest.fixture(scope="module")
def unlisted(tmp_path_factory) -> Path:
    """Our core, a stage that draws and a teacher, in a folder of their own."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "deixis" / "core", folder / "deixis" / "core")
    files = {
        "deixis/__init__.py": "", "models/__init__.py": "", "models/teachers/one.py": "class One:\n    width = 3\n",
        "models/teachers/__init__.py": 'TEACHERS = {"one": "models.teachers.one:One"}\nREADS = {}\n',
        "models/map_teachers/__init__.py": "MAP_TEACHERS = {}\nREADS = {}\n",
        "models/students/__init__.py": "STUDENTS = {}\n", "stages/__init__.py": "", "stages/draw.py": STAGE,
        "params.yaml": (ROOT / "params.yaml").read_text(),
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shutil.copy(ROOT / "stages" / "list_code.py", folder / "stages")
    settings = (folder / "params.yaml").read_text()
    for name in ("teachers", "student_teachers", "students"):
        settings = re.sub(rf"(?m)^  {name}: \[.*?\]", f"  {name}: []", settings, count=1)
    (folder / "params.yaml").write_text(settings)
    return folder


@pytest.fixture(scope="module")
def once_listed(unlisted, tmp_path_factory) -> Path:
    """The same, with its code listed."""
    folder = shutil.copytree(unlisted, tmp_path_factory.mktemp("listed"), dirs_exist_ok=True)
    code, output = list_code(folder)
    assert code == 0, output
    return folder


@pytest.fixture
def checkout(once_listed, tmp_path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(once_listed, tmp_path, dirs_exist_ok=True)


def start(checkout: Path, *words: str, under_dvc: bool = False) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DVC_STAGE")}
    environment |= {"DVC_STAGE": "draw"} if under_dvc else {}
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=checkout, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(checkout: Path, *words: str, under_dvc: bool = False) -> tuple[int, str]:
    process = start(checkout, *words, under_dvc=under_dvc)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def list_code(checkout: Path) -> tuple[int, str]:
    return run(checkout, "stages.list_code", "--out", "data/code.json", under_dvc=True)


def edit(checkout: Path, name: str, old: str, new: str) -> None:
    path = checkout / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


DRAW = ("stages.draw", "--out", "out.txt")


def test_a_stage_that_no_list_knows_is_told_how_to_make_one(unlisted):
    assert run(unlisted, *DRAW, under_dvc=True) == (
        2, "error: data/code.json: missing. It says what code a stage runs. Run: dvc repro list_code\n"
    )  # fmt: skip


def test_a_stage_runs_as_listed_and_refuses_an_edit_that_is_not(checkout):
    assert run(checkout, *DRAW, under_dvc=True)[0] == 0
    edit(checkout, "stages/draw.py", '"drawn"', '"other"')
    (checkout / "out.txt").unlink()
    code, output = run(checkout, *DRAW, under_dvc=True)
    assert code == 2 and not (checkout / "out.txt").exists()
    assert "stages.draw runs other code than data/code.json lists; changed since: stages/draw.py" in output
    assert run(checkout, *DRAW)[0] == 0  # by hand, without DVC, nothing is filed
    edit(checkout, "stages/draw.py", '"other"', '"drawn"')
    assert run(checkout, *DRAW, under_dvc=True)[0] == 0


def test_a_comment_is_no_edit(checkout):
    edit(checkout, "stages/draw.py", "import time", "import time  # to wait")
    assert run(checkout, *DRAW, under_dvc=True)[0] == 0


def test_an_edit_of_the_method_counts_and_of_another_does_not(checkout):
    edit(checkout, "models/teachers/one.py", "3", "4")
    assert run(checkout, *DRAW, under_dvc=True)[0] == 0
    code, output = run(checkout, *DRAW, "--teacher", "one", under_dvc=True)
    assert code == 2 and "models.teachers.one runs other code" in output and "models/teachers/one.py" in output


def test_an_edit_while_a_stage_runs_is_refused_at_its_end(checkout):
    process = start(checkout, *DRAW, "--wait", "go", under_dvc=True)
    while not (checkout / "out.started").exists():
        assert process.poll() is None
    edit(checkout, "deixis/core/registry.py", "there is no {role}", "no {role} has the name")
    (checkout / "go").touch()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "deixis/core/registry.py" in output


def test_changes_and_stale_stages_are_told(checkout):
    listed = json.loads((checkout / "data/code.json").read_text())
    params = {"data/code.json": {"stages.draw": listed["stages"]["draw"]}}
    stages = {
        "draw@a": {"params": params, "outs": [{"path": "data/a"}]},
        "read": {"deps": [{"path": "data/a/table"}], "outs": [{"path": "data/read.json"}]},
        "use": {"params": {"data/read.json": {"x": 1}}, "outs": [{"path": "data/c"}]},
        "other": {"deps": [{"path": "data/b"}], "outs": [{"path": "data/d"}]},
    }
    (checkout / "dvc.lock").write_text(json.dumps({"stages": stages}))  # JSON is YAML
    edit(checkout, "stages/draw.py", "0.05", "0.06")
    code, output = list_code(checkout)
    assert code == 0
    assert output.splitlines() == ["changed: stages/draw.py", "stale: draw@a", "after it: read", "after it: use"]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("stages/draw.py", "import time", "import time, torhc", "stages/draw.py:3: imports torhc"),
        ("stages/draw.py", "def draw(", "def draw((", "stages/draw.py:11: not valid Python"),
        ("models/teachers/__init__.py", ":One", ":Gone", "models/teachers/__init__.py:1: TEACHERS names"),
        (
            "params.yaml",
            "  map_teachers: []",
            "  map_teachers: [pcnet]",
            "run.map_teachers names pcnet. Allowed",
        ),
        ("params.yaml", "  scenes_g: {adapter", "  2024: {adapter", 'Write "2024": in place of 2024: there'),
    ],
)
def test_a_checkout_that_cannot_run_is_refused_and_the_last_list_stays(checkout, name, old, new, message):
    before = (checkout / "data/code.json").read_bytes()
    edit(checkout, name, old, new)
    code, output = list_code(checkout)
    assert code == 2 and message in output and "Traceback" not in output
    assert (checkout / "data/code.json").read_bytes() == before


def test_a_damaged_cache_or_list_is_written_anew(checkout):
    before = (checkout / "data/code.json").read_bytes()
    for name in ("scratch/code_syntax.json", "data/code.json"):
        (checkout / name).write_text('{"half": ')
    assert run(checkout, *DRAW, under_dvc=True)[0] == 2
    assert list_code(checkout)[0] == 0
    assert (checkout / "data/code.json").read_bytes() == before


def test_a_module_that_no_import_names_is_refused(checkout):
    edit(checkout, "stages/draw.py", "    if wait:", '    __import__("deixis.core." + "progress")\n    if wait:')
    assert list_code(checkout)[0] == 0
    code, output = run(checkout, *DRAW, under_dvc=True)
    assert code == 2 and "stages.draw has loaded deixis.core.progress, which no import of it names" in output
