"""Rows of Arrow tables that others wrote, as plain values; one that Python cannot hold costs no other."""

from typing import Any

import pyarrow as pa

from deixis.core.foreign import first_words
from deixis.datasets.quarantine import Code


class UnreadableRow:
    """Stands for a row that Python cannot hold. It is no dictionary, so readers refuse it as they refuse any other.

    Attributes:
        code: That of the quarantine.
    """

    def __init__(self, error: Exception) -> None:
        self.code: Code = "E_TEXT_ENCODING" if isinstance(error, UnicodeDecodeError) else "E_ROW_BROKEN"
        self._why = first_words(error)

    def __repr__(self) -> str:
        return f"a row that cannot be read ({self._why})"


def plain_rows(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any] | UnreadableRow]:
    """Every row as plain values.

    Text may not be UTF-8, a date may lie beyond the calendar, its time zone may be unknown, and a field may be there
    twice: converters raise something else for each.
    """
    try:
        return list(table.to_pylist())
    except Exception:
        return [_plain_row(table.slice(place, 1)) for place in range(table.num_rows)]


def _plain_row(one: pa.Table | pa.RecordBatch) -> dict[str, Any] | UnreadableRow:
    try:
        return one.to_pylist()[0]
    except Exception as error:
        return UnreadableRow(error)
