"""What a kind of file is: how sound ones are made, and how they are read to the end."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Found = set[str]  # phrases that were read; empty for kinds that hold none


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        make: Writes sound files into an empty folder.
        damaged: Pattern of those that are damaged, one at a time.
        read: Reads what lies there to the end.
        rows: Where its rows are, so that damage within one may cost no other: in `lines`, in the `list` that the file
            is, or in a list under that key; None where rows cannot be told apart, or there are none.
    """

    name: str
    make: Callable[[Path], object]
    damaged: str
    read: Callable[[Path], Found]
    rows: str | None = None
