"""Rows of CSV and TSV files: every value stays the text that it is.

A quote that is never closed would swallow the rows after it. So a record that fails and spans several lines is given
up for its first line alone, and reading starts again at the next.
"""

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from deixis.core.errors import DataError
from deixis.datasets.pairs.rows import Remark, RowOrRemark, check_columns, make_row
from deixis.datasets.pairs.settings import PairsConfig
from deixis.datasets.pairs.text_lines import decode, read_lines

DELIMITERS = ",;\t"
MAX_RECORD_LINES = 200
Line = tuple[int, bytes | None]


class _TooLong(Exception):
    """A record that goes on and on."""


class _Lines:
    """Lines for the parser, remembered until their record is accepted."""

    def __init__(self, lines: Iterator[Line], file: str) -> None:
        self._lines, self._file = lines, file
        self._again: deque[Line] = deque()
        self.record: list[Line] = []
        self.remark: Remark | None = None

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.record.append(line)
        if line[1] is None or len(self.record) > MAX_RECORD_LINES:
            raise _TooLong
        text, remark = decode(line[1], self._file, line[0])
        self.remark = remark or self.remark
        return text.replace("\0", "")

    def start(self) -> None:
        """Accept the record; the next line begins a new one."""
        self.record, self.remark = [], None

    def take_back(self) -> None:
        """Give the record up but for its first line, which stays refused."""
        self._again.extendleft(reversed(self.record[1:]))


def read_csv(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """Rows under a header; line numbers are those at which a record begins, the header's being 0."""
    lines = _Lines(read_lines(path), file)
    header, delimiter = _read_header(lines, path, config)
    check_columns(header, config.fields, file=str(path))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.start()
        try:
            values, problem = next(reader), ""
            if values and len(values) != len(header):
                problem = f"{len(values)} values under {len(header)} columns: {delimiter.join(values)}"
        except StopIteration:
            return
        except _TooLong:
            values, problem = [], f"a line of more than a mebibyte, or a record of more than {MAX_RECORD_LINES} lines"
        except csv.Error as error:
            values, problem = [], str(error)
        line = lines.record[0][0] if lines.record else 0
        if problem:
            size = lines.record[0][1] is None
            yield Remark(file, line, "E_ROW_SIZE" if size else "E_ROW_BROKEN", problem)
            lines.take_back()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        elif values:
            if lines.remark:
                yield lines.remark
            yield make_row(file, line, dict(zip(header, values, strict=True)), config.fields)


def _read_header(lines: _Lines, path: Path, config: PairsConfig) -> tuple[list[str], str]:
    """Column names, and the delimiter under which the wanted ones are among them."""
    try:
        text = next(lines)
    except StopIteration:
        raise DataError(f"{path}: an empty file. Restore it") from None
    except _TooLong:
        raise DataError(f"{path}: its first line is no header. Fix it") from None
    headers = {mark: [name.strip() for name in next(csv.reader([text], delimiter=mark), [])] for mark in DELIMITERS}
    for mark, names in headers.items():
        if {config.fields.image, config.fields.text} <= set(names):
            return names, mark
    mark = max(headers, key=lambda mark: len(headers[mark]))
    return headers[mark], mark
