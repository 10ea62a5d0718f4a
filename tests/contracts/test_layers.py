"""Imports go downwards, deixis, models, training and answering, reviewing, stages and commands, claims; no circles."""

from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from deixis.core.fingerprint import ROOT, Code

LAYER = {
    "deixis": 0, "models": 1, "training": 2, "answering": 2, "reviewing": 3, "stages": 4, "commands": 4, "claims": 5
}  # fmt: skip
ROOMS = 17  # entries of deixis/ that a reader finds at once


@cache
def imports() -> dict[str, set[str]]:
    """Of every module, those of ours that it imports."""
    code = Code(ROOT)
    return {
        module: {
            name
            for imported in code.syntax(module).imports
            for name in (f"{imported.module}.{imported.name}", imported.module)
            if name in code.paths and name != module
        }
        for module in code.paths
    }


def folder(module: str) -> str:
    """The room that a module lies in: `deixis.core`, `models.teachers`; itself where it lies in none."""
    return ".".join(module.split(".")[:2])


def test_there_are_imports_to_look_at():
    assert sum(map(len, imports().values())) > 500


def test_no_module_imports_a_higher_layer():
    for module, names in imports().items():
        if module == "deixis.__main__":  # the command line's door, which nothing imports
            continue
        layer = LAYER[module.split(".")[0]]
        assert not [name for name in names if LAYER[name.split(".")[0]] > layer], module


def test_stages_and_commands_do_not_import_each_other_and_no_stage_another():
    for module, names in imports().items():
        if module.startswith("stages."):
            assert not [name for name in names if name.startswith(("stages.", "commands"))], module
        if module.startswith("commands"):
            assert not [name for name in names if name.startswith("stages")], module


def test_no_file_imports_itself_by_a_detour():
    in_order(imports())


def test_no_folder_imports_itself_by_a_detour():
    rooms: dict[str, set[str]] = {}
    for module, names in imports().items():
        rooms.setdefault(folder(module), set()).update(folder(name) for name in names)
    in_order({room: names - {room, room.split(".")[0]} for room, names in rooms.items()})


def in_order(graph: dict[str, set[str]]) -> None:
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_a_circle_would_be_found():
    with pytest.raises(pytest.fail.Exception, match=r"a -> b -> a|b -> a -> b"):
        in_order({"a": {"b"}, "b": {"a"}})


def test_the_library_has_rooms_and_not_a_corridor():
    entries = [path.name for path in (ROOT / "deixis").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= ROOMS, sorted(entries)
    loose = [path.name for path in (ROOT / "models").glob("*.py")]
    assert loose == ["__init__.py"]
