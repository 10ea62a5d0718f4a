"""Every stage and parameter that a message, a docstring or a page tells people to use exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from deixis.core.fingerprint import FOLDERS
from deixis.core.run_lists import RunParams, refuse_misfits
from models.detectors import MASK_HEADS
from models.map_teachers import MAP_TEACHERS
from models.map_teachers import READS as MAP_READS
from models.students import STUDENTS
from models.teachers import READS, TEACHERS
from tests.contracts.test_scales import PUBLISHED

ROOT = Path(__file__).parents[2]
SECTIONS = ("candidates", "cues", "detector", "labels", "leakage", "map_labels", "proposals", "ratings", "run")
COMMAND = re.compile(r"(?<!`)\bdvc repro((?: -\S+)*) (?:claims/dvc\.yaml:)?([a-z][a-z_]+)(?=[@`.,;:)\s]|$)")
SETTING = re.compile(rf"(?<![\w/.])({'|'.join(SECTIONS)})\.([a-z][a-z_]*[a-z])(?![\w/.(*])")
FILES = {"csv", "json", "jsonl", "parquet"}
PROSE = {"prepares", "shows", "trains"}  # "`dvc repro` and ..."


@cache
def loaded(name: str) -> Any:
    return YAML(typ="safe").load(ROOT / name)


def texts() -> Iterator[tuple[str, str]]:
    """Every page, and every string in the code, with where it stands."""
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        yield page.name, page.read_text()
    for folder in (*FOLDERS, "pipelines"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def test_stages_that_are_named_exist():
    known = set(loaded("dvc.yaml")["stages"]) | set(loaded("claims/dvc.yaml")["stages"])
    named = [(place, match[2]) for place, text in texts() for match in COMMAND.finditer(text)]
    assert len(named) > 50
    assert not {pair for pair in named if pair[1] not in known | PROSE}


def test_settings_that_are_named_exist():
    params = loaded("params.yaml")
    named = [(place, match[1], match[2]) for place, text in texts() for match in SETTING.finditer(text)]
    assert len(named) > 20
    assert not {entry for entry in named if entry[2] not in {*params[entry[1]], *FILES}}


def test_every_system_at_once_names_lists_of_the_run_and_every_method():
    page = (ROOT / "docs" / "settings.md").read_text()
    (block,) = re.findall(r"```yaml\n(.+?)```", page, re.DOTALL)
    run = TypeAdapter(RunParams).validate_python(loaded("params.yaml")["run"] | YAML(typ="safe").load(block)["run"])
    assert {*run.teachers} == PUBLISHED["teachers"] and {*run.students} == PUBLISHED["students"]
    assert {*run.map_teachers} == PUBLISHED["map_teachers"] and {*run.mask_heads} <= {*MASK_HEADS}
    refuse_misfits(
        run,
        methods={"teachers": TEACHERS, "map_teachers": MAP_TEACHERS, "students": STUDENTS},
        reads=READS | MAP_READS,
    )


@pytest.mark.parametrize(
    ("text", "stage"), [("Run: dvc repro train_teacher@a-b", "train_teacher"), ("dvc repro -f gone", "gone")]
)
def test_a_stage_is_found_in_a_message(text, stage):
    assert COMMAND.search(text)[2] == stage
