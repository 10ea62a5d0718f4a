"""The console script: found, quick to help, with the exit codes of the stages."""

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from commands.main import COMMANDS, main
from deixis.imaging.masks import decode_mask

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PHOTOGRAPH = Path(skimage.data.__file__).parent / "chelsea.png"


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "deixis", *map(str, words)],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_the_version_is_the_projects():
    assert run("--version").stdout.strip() == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_console_script_is_the_command_line():
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["deixis"]
    module, name = script.split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_help_lists_every_command_and_loads_none():
    code = "import sys, commands.main as m; sys.argv[1:] = ['--help']\ntry: m.main()\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'pandas', 'pyarrow', 'commands.predict') if name in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert finished.rstrip().endswith("[]")
    for name, (_, about) in COMMANDS.items():
        assert name in finished and about in finished


@pytest.mark.parametrize("name", ["predict", "scan", "label", "take-decisions", "doctor"])
def test_every_command_explains_its_options(name):
    module, function = COMMANDS[name][0].split(":")
    explained = getattr(importlib.import_module(module), function).__doc__
    assert explained and "Args:" in explained


def test_predict_answers_about_a_real_photograph(world, tmp_path):
    done = run(
        "predict", PHOTOGRAPH, "the left ear", "cat", "--model", world / "data/teachers/toy/dvin", "--overlay",
        tmp_path / "answers.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [answer["phrase"] for answer in record["answers"]] == ["the left ear", "cat"]
    for answer in record["answers"]:
        assert len(answer["box"]) == 4 and np.isfinite([*answer["box"], answer["score"], answer["margin"]]).all()
        if answer["mask"] is not None:
            assert decode_mask(answer["mask"]).shape == (record["height"], record["width"]) == (300, 451)
    with Image.open(tmp_path / "answers.png") as drawn:
        assert drawn.width > 2 * 600


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 65, r"error: no model answers here yet\..*deixis weights fetch yolox-nano all-minilm-l6-v2 .*dvc repro"),
        (["--overlay", "drawn.gif"], 2, r"error: .*Allowed: a file whose name ends in \.png"),
    ],
)
@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")  # it sees that this is a test
def test_mistakes_are_one_line_with_the_remedy(tmp_path, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["deixis", "predict", str(PHOTOGRAPH), "cat", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (code, "")
    assert re.match(message, err) and "Traceback" not in err and err.count("\n") == 1


def test_the_example_runs_on_a_real_photograph(world, capsys):
    spec = importlib.util.spec_from_file_location("example", ROOT / "examples/predict.py")
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(str(PHOTOGRAPH), "the cat", "a whisker", model=str(world / "data/teachers/toy/dvin"))
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[:2]] == ["the cat", "a whisker"]
    assert "of its own labels have a margin above 1" in printed[2]
