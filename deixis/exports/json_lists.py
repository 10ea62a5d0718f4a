"""JSON lists that are written one entry at a time."""

import json
from pathlib import Path
from typing import Any, TextIO


class JsonList:
    """A list that opens and closes itself; entries go to the file as they come.

    Args:
        opening, closing: What stands before and after the list, where it is part of something larger.
    """

    def __init__(self, path: Path, *, opening: str = "", closing: str = "\n") -> None:
        self._path, self._opening, self._closing = path, opening, closing
        self._is_empty = True

    def __enter__(self) -> "JsonList":
        """Open the file."""
        self._stream: TextIO = self._path.open("w", encoding="utf-8", newline="\n")
        self._stream.write(self._opening + "[")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the list and the file."""
        with self._stream:
            self._stream.write("\n]" + self._closing)

    def add(self, entry: Any) -> None:
        """Write one entry, on a line of its own."""
        self._stream.write(("\n" if self._is_empty else ",\n") + dumps(entry))
        self._is_empty = False


def dumps(value: Any) -> str:
    """One line of JSON; no NaN."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
