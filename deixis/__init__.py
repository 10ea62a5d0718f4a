"""The shared library of deixis, and its few names for use from Python.

`deixis.load(folder)` gives a predictor, whose `predict(image, phrases)` answers; `deixis.iterate_labels(path)` walks
through labels. Both are imported when first asked for, so that `import deixis` costs nothing.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

_BESIDE = ("models", "training", "answering", "reviewing", "stages", "commands")  # our packages of the layers above
_NAMES = {
    "load": ("answering.predictor", "Predictor"),
    "Predictor": ("answering.predictor", "Predictor"),
    "Answer": ("answering.predictor", "Answer"),
    "iterate_labels": ("deixis.labelling.labels", "iterate_labels"),
    "Label": ("deixis.labelling.labels", "Label"),
}
__all__ = list(_NAMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"deixis has no {name!r}. Known: {', '.join(_NAMES)}, and its modules by their full names")
    module, attribute = _NAMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})


def _refuse_strangers() -> None:
    """Stop where another package has the name of one of ours: whatever is imported later would be the wrong one."""
    home = Path(__file__).resolve().parents[1]
    for name in _BESIDE:
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or [spec.origin]) if spec else []
        if places and Path(str(places[0])).resolve().parent != home:
            raise ImportError(
                f"deixis has a package {name!r} in {home}, but {places[0]} comes first on the path. "
                "Rename that one, run from another folder, or use the command line, which does not look there: "
                "deixis --help"
            )


_refuse_strangers()
