"""The shared library of deixis, and its few names for use from Python.

`deixis.load(folder)` gives a predictor, whose `predict(image, phrases)` answers; `deixis.iterate_labels(path)` walks
through labels. Both are imported when first asked for, so that `import deixis` costs nothing.
"""

import importlib
from typing import Any

_NAMES = {
    "load": "answering.predictor:Predictor",
    "Predictor": "answering.predictor:Predictor",
    "Answer": "answering.predictor:Answer",
    "iterate_labels": "deixis.labelling.labels:iterate_labels",
    "Label": "deixis.labelling.labels:Label",
}
__all__ = list(_NAMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"deixis has no {name!r}. Known: {', '.join(_NAMES)}, and its modules by their full names")
    module, attribute = _NAMES[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
