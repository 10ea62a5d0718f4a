"""JSON that others wrote, in which an object may have a key twice; the standard reader drops the first value unsaid."""

import json
from typing import Any


class RepeatedKey:
    """Stands for an object with a key twice. It is no dictionary, so readers refuse it as they refuse any other."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"an object with {self._key!r} twice"


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: If it is no JSON.
        RecursionError: If it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> Any:
    whole = dict(pairs)
    if len(whole) == len(pairs):
        return whole
    seen: set[str] = set()
    return RepeatedKey(next(key for key, _ in pairs if key in seen or seen.add(key)))
