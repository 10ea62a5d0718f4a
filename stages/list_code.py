"""Say by fingerprint what code each stage and method stands on, and what a change of it makes stale.

Stages depend on their entries as on parameters. A comment, a docstring or a help text changes no fingerprint. As every
other stage comes after this one, it is also where lists under `run` that do not fit together are refused.

reads   every module of our code; dvc.lock, to tell what is stale; params: run, and the names of datasets
writes  code.json: a fingerprint for every stage and method, and one for each module alone
run     dvc repro list_code
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deixis.core.cli import run_stage
from deixis.core.code_list import LISTED, PARSED, changed_files, look_up, read_list, read_parsed, storable
from deixis.core.config import load_params, read_section
from deixis.core.errors import ConfigError
from deixis.core.fingerprint import ROOT, Code, CodeList
from deixis.core.progress import say
from deixis.core.records import write_json
from deixis.core.run_lists import RunParams, refuse_misfits, refuse_undecided
from deixis.core.syntax import Syntax
from deixis.core.yaml_names import refuse_misread_names
from models.map_teachers import MAP_TEACHERS
from models.map_teachers import READS as MAP_READS
from models.students import STUDENTS
from models.teachers import READS, TEACHERS

DECISIONS = Path("data/decisions")
LOCKS = (Path("dvc.lock"), Path("claims/dvc.lock"))


def list_code(*, out: Path, root: Path = ROOT, params: Path = Path("params.yaml")) -> None:
    """List the fingerprints of all code, and tell what changed since the last list."""
    methods = {"teachers": TEACHERS, "map_teachers": MAP_TEACHERS, "students": STUDENTS}
    datasets = load_params(params).get("datasets")
    if isinstance(datasets, dict):
        refuse_misread_names(datasets, "datasets", params)
    run = read_section(params, "run", RunParams)
    refuse_misfits(run, methods=methods, reads=READS | MAP_READS)
    refuse_undecided(run, DECISIONS)
    known = read_parsed(PARSED)
    code = Code(root, known=known)
    code.check()
    listed = CodeList.of(code)
    tell_changes(code, read_last(out), listed)
    write_json(listed.nested(), out)
    write_json(storable(_still_there(code, known)), PARSED)


def read_last(out: Path) -> dict[str, Any]:
    """The list of the last time; an empty one where there is none that can be read."""
    try:
        return read_list(out)
    except ConfigError:
        return {}


def tell_changes(code: Code, last: dict[str, Any], listed: CodeList) -> None:
    """Print the files whose meaning changed, and the stages that are to run again."""
    for path in changed_files(code, last["modules"]) if "modules" in last else []:
        say(f"changed: {path}")
    stages = {name: stage for lock in LOCKS if lock.exists() for name, stage in load_params(lock)["stages"].items()}
    direct = {name for name, stage in stages.items() if _has_other_code(stage, listed.nested())}
    for name in sorted(direct):
        say(f"stale: {name}")
    for name in sorted(_below(direct, stages)):
        say(f"after it: {name}")


def _has_other_code(stage: dict[str, Any], listed: dict[str, Any]) -> bool:
    entries = stage.get("params", {}).get(str(LISTED), {})
    return any(look_up(listed, name) != value for name, value in entries.items())


def _below(stale: set[str], stages: dict[str, dict[str, Any]]) -> set[str]:
    """Stages that read, directly or not, what stale ones write."""
    reached = set(stale)
    while True:
        written = [out["path"] for name in reached for out in stages[name].get("outs", [])]
        new = {name for name in stages.keys() - reached if any(_reads(stages[name], path) for path in written)}
        if not new:
            return reached - stale
        reached |= new


def _reads(stage: dict[str, Any], written: str) -> bool:
    return any(f"{path}/".startswith(f"{written}/") or f"{written}/".startswith(f"{path}/") for path in _inputs(stage))


def _inputs(stage: dict[str, Any]) -> Iterator[str]:
    yield from (dep["path"] for dep in stage.get("deps", []))
    yield from stage.get("params", {})


def _still_there(code: Code, known: dict[str, Syntax]) -> dict[str, Syntax]:
    now = {code.syntax(name).digest for name in code.paths}
    return {checksum: syntax for checksum, syntax in known.items() if syntax.digest in now}


if __name__ == "__main__":
    run_stage(list_code)
