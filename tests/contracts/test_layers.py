"""Who may import whom: the library knows no model, models know no stage, and stages do not know each other."""

import grimp
import pytest

LAYERS = {  # package -> first-party packages that it may import, beside itself
    "deixis": set(),
    "models": {"deixis"},
    "training": {"deixis", "models"},
    "answering": {"deixis", "models"},
    "stages": {"deixis", "models", "training", "answering"},
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*LAYERS, cache_dir=None)


@pytest.mark.parametrize("package", list(LAYERS))
def test_no_package_imports_one_above_it(graph, package):
    for module in [package, *graph.find_descendants(package)]:
        for imported in graph.find_modules_directly_imported_by(module):
            top = imported.split(".")[0]
            assert top == package or top in LAYERS[package], f"{module} imports {imported}"


def test_no_stage_imports_another(graph):
    for module in graph.find_descendants("stages"):
        others = [name for name in graph.find_modules_directly_imported_by(module) if name.startswith("stages.")]
        assert not others, f"{module} imports {others[0]}: move what both need to deixis, answering or training"
