"""The boundary of foreign bytes: whatever a reader of them can raise becomes one message that names the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deixis.core.errors import ConfigError, DataError

LONGEST = 200  # characters of a reader's own words


@contextmanager
def foreign_bytes(path: Path | str, expected: str, remedy: str, *, missing: str | None = None) -> Iterator[None]:
    """Read a file that anyone may have written or damaged, or build what it describes; nothing else stands inside.

    Every exception counts: parsers raise whatever a damaged byte makes of their arithmetic, and what is described may
    be of any type and size.

    Args:
        expected: What it should be, as "a whole Parquet file".
        remedy: What to do about it.
        missing: What to do where there is no such file, if that is something else.

    Raises:
        DataError: Whatever it was; errors that are ours already pass.
    """
    try:
        yield
    except (ConfigError, DataError):
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: missing. {missing or remedy}") from None
    except Exception as error:
        raise DataError(f"{path}: not {expected} ({first_words(error)}). {remedy}") from error


def first_words(error: BaseException) -> str:
    """The beginning of an exception's message, on one line; its kind where it says nothing."""
    if isinstance(error, KeyError):  # which says nothing but the key
        return f"no {str(error)[:LONGEST]}"
    lines = str(error).strip().splitlines()
    return lines[0][:LONGEST] if lines else type(error).__name__
