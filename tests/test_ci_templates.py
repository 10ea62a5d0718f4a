"""The templates for CI parse, and their compare step runs as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from commands.comparing.as_markdown import MARKER
from tests.commands.results import commit, git, start, write_results
from tests.trainings import answers, hits, images_of_phrases

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TEMPLATES = {path.stem: YAML(typ="safe").load(path.read_text()) for path in (ROOT / "deploy/ci").glob("*.yml")}


def commands(template: str) -> list[str]:
    """What the jobs run, in order."""
    if template == "gitlab":
        job = TEMPLATES[template]["results"]
        return [*job["script"], *job["after_script"]]
    return [step["run"] for step in TEMPLATES[template]["jobs"]["compare"]["steps"] if "run" in step]


@pytest.mark.parametrize("template", ["github", "gitlab"])
def test_both_pull_rebuild_compare_and_post(template):
    lines = "\n".join(commands(template))
    order = [lines.index(word) for word in ("dvc pull", "dvc repro", "deixis compare", f'startswith("{MARKER}")')]
    assert order == sorted(order)
    assert "comparison/comparison.md" in lines


@pytest.mark.parametrize("template", ["github", "gitlab"])
def test_the_scripts_are_sound_shell(template):
    for line in commands(template):
        checked = subprocess.run(["bash", "-n"], input=line, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr


def test_both_read_the_whole_history():
    assert TEMPLATES["github"]["jobs"]["compare"]["steps"][0]["with"]["fetch-depth"] == 0
    assert TEMPLATES["gitlab"]["results"]["variables"]["GIT_DEPTH"] == 0


def test_the_compare_step_runs_as_it_is_written(tmp_path):
    steps = [line for template in TEMPLATES for line in commands(template) if line.startswith("uv run deixis")]
    assert len(steps) == 2 and len(set(steps)) == 1
    about = images_of_phrases(np.random.default_rng(0), 40)
    start(tmp_path)
    for seed in (1, 2):
        write_results(tmp_path, answers(about, hits(np.random.default_rng(seed), about)), checkpoint=str(seed))
        name = commit(tmp_path, f"Training {seed}")
    step = re.sub(r"^uv run deixis", f"{sys.executable} -m deixis", steps[0])
    environment = os.environ | {"BASE": git(tmp_path, "rev-parse", f"{name}~1"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-euc", step], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comparison/comparison.md").read_text().startswith(MARKER)
    assert "Training 1" in (tmp_path / "comparison/comparison.html").read_text()
