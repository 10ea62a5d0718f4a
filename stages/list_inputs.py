"""Say by checksum what each method reads of the frozen models and features, so that no other's make it stale.

A stage of one method depends on that method's entry instead of on whole folders: naming another teacher under `run`, or
importing another expert, trains nothing again that does not read it.

reads   the folder of frozen models, a dataset's features, params.yaml as a file: any edit of it is cheaper than listing
        all sections of methods in the lock
writes  the checksums of every method under `run`: teachers where features are given, else students
run     dvc repro list_inputs@scenes_plus
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import file_sha256, write_json
from deixis.core.registry import resolve
from deixis.core.run_lists import RunParams
from deixis.core.syntax import HEX_DIGITS
from deixis.language.text import build_vocabulary
from deixis.roles import MapTeacher, Student, Weigher, ZeroShotTeacher, prior_of, stored_experts
from models.frozen.starts import named_vectors
from models.loading.teachers import feature_names
from models.map_teachers import MAP_TEACHERS
from models.students import STUDENTS
from models.teachers import TEACHERS


def list_inputs(*, weights: Path, out: Path, features: Path | None = None, params: Path = Path("params.yaml")) -> None:
    """List what the methods under `run` read.

    Args:
        weights: Folder of frozen models.
        features: A dataset's folder of features, cues and proposals, to list its teachers; without it students are
            listed, which read none.
    """
    run = read_section(params, "run", RunParams)
    if features is None:
        students = {*run.students, *run.annotation_students, *run.upper_bounds}
        write_json({"students": {name: student_inputs(name, weights, params) for name in sorted(students)}}, out)
        return
    read: dict[str, Any] = {
        "segmenter": checksums(weights, ["segmenter"]),
        "teachers": {name: teacher_inputs(name, features, weights, params) for name in run.teachers},
        "map_teachers": {name: map_teacher_inputs(name, features, weights, params) for name in run.map_teachers},
    }
    write_json(read, out)


def teacher_inputs(name: str, features: Path, weights: Path, params: Path) -> dict[str, str]:
    """Of a teacher of boxes: its stores, and the frozen models behind them, which it asks when it labels again."""
    model: Weigher = outline(TEACHERS, "teacher", name, params)
    by_rule = prior_of(model) or model
    starts = by_rule.starts if isinstance(by_rule, ZeroShotTeacher) else ()
    models = {"detector", *stored_experts(model), *starts, *vectors_of(f"teachers.{name}", params)}
    return {
        "features": checksums(features, feature_names(model), _no_shard),
        "weights": checksums(weights, models),
    }


def map_teacher_inputs(name: str, features: Path, weights: Path, params: Path) -> dict[str, str]:
    """Of a teacher of response maps: its cues and proposals, what it starts from, and the judge of its maps."""
    model: MapTeacher = outline(MAP_TEACHERS, "map_teacher", name, params)
    weighs = model.needs_proposals or read_section(params, "map_labels", dict).get("mask") == "proposal"
    stores = [*(["cues"] if model.cue_reading else []), *(["proposals"] if weighs else [])]
    return {
        "features": checksums(features, stores, _no_shard),
        "weights": checksums(weights, {*model.starts, model.judge}),
    }


def student_inputs(name: str, weights: Path, params: Path) -> str:
    """Of a student: what it starts from."""
    model: Student = outline(STUDENTS, "student", name, params)
    return checksums(weights, {*model.starts, *vectors_of(f"students.{name}", params)})


def outline(registry: Mapping[str, str], role: str, name: str, params: Path) -> Any:
    """A method as configured, without storage for its weights: it only has to say what it reads."""
    kind = resolve(registry, name, role=role)
    config = read_section(params, f"{role}s.{name}.model", kind.Config)
    with torch.device("meta"):
        return kind(config, build_vocabulary([]))


def vectors_of(section: str, params: Path) -> list[str]:
    """The import of word vectors that a method names, if any."""
    name = named_vectors(section, params)
    return [] if name is None else [name]


def _no_shard(path: Path) -> bool:
    """A store's `meta.json` holds the checksums of its shards."""
    return not path.name.startswith("shard-")


def checksums(folder: Path, names: Iterable[str], counts: Callable[[Path], bool] = lambda path: True) -> str:
    """The named folders, each with one checksum of all its files that count; without one where there is no such folder.

    One line, because `dvc.lock` repeats it for every stage of a method.
    """
    digests = []
    for name in sorted(names):
        files = sorted(path for path in (folder / name).rglob("*") if path.is_file() and counts(path))
        listed = "\n".join(f"{path.relative_to(folder)} {file_sha256(path)}" for path in files)
        digests.append(f"{name} {hashlib.sha256(listed.encode()).hexdigest()[:HEX_DIGITS] if files else 'missing'}")
    return ", ".join(digests)


if __name__ == "__main__":
    run_stage(list_inputs)
