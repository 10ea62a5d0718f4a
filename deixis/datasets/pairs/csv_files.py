"""Rows of CSV and TSV files: every value stays the text that it is.

A quote that is never closed would swallow the rows after it. So a record that fails and spans several lines is given
up for its first line alone, and reading starts again at the next.

Between tabs, quotation marks may be CSV's or plain characters, and nothing says which. They are CSV's unless a record
then fails or swallows lines that are rows by themselves; its first line is then read as it stands.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from deixis.core.errors import DataError
from deixis.datasets.pairs.rows import Remark, RowOrRemark, check_columns, make_row
from deixis.datasets.pairs.settings import PairsConfig
from deixis.datasets.pairs.text_lines import decode, read_lines

TAB = "\t"
DELIMITERS = f",;{TAB}"
SEPARATOR = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)  # Excel's own line before the header
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
        """Give the record up but for its first line."""
        self._again.extendleft(reversed(self.record[1:]))
        line, raw = self.record[0]
        self.remark = None if raw is None else decode(raw, self._file, line)[1]

    def plain_row(self, header: "_Header") -> list[str] | None:
        """Values of the record's first line as it stands, where it and the line after it can only be rows.

        The last line of a file that is cut short may lack the mark that closes its value: then it is none.
        """
        raws = [raw for _, raw in self.record[:2]]
        if header.delimiter != TAB or None in raws:
            return None
        texts = [decode(raw, self._file, 0)[0] for raw in raws if raw is not None]
        rows = [text.rstrip("\r\n").replace("\0", "").split(TAB) for text in texts]
        is_whole = texts[0].endswith(("\r", "\n")) or texts[0].count('"') % 2 == 0
        return rows[0] if is_whole and all(len(row) == len(header.names) for row in rows) else None


class _Header(NamedTuple):
    """Column names, and how the values under them are written."""

    names: list[str]
    delimiter: str
    spaced: bool  # whether a space follows each delimiter

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Records of lines."""
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self.spaced, strict=True)


def read_csv(path: Path, *, file: str, config: PairsConfig) -> Iterator[RowOrRemark]:
    """Rows under a header; line numbers are those at which a record begins, the file's first being 0."""
    lines = _Lines(read_lines(path), file)
    header = _read_header(lines, path, {config.fields.image, config.fields.text})
    check_columns(header.names, config.fields, file=str(path))
    reader = header.reader(lines)
    while True:
        lines.start()
        try:
            values, problem = next(reader), ""
            if values and len(values) != len(header.names):
                found = header.delimiter.join(values)
                problem = f"{len(values)} values under {len(header.names)} columns: {found}"
        except StopIteration:
            return
        except _TooLong:
            values, problem = [], f"a line of more than a mebibyte, or a record of more than {MAX_RECORD_LINES} lines"
        except csv.Error as error:
            values, problem = [], str(error)
        line = lines.record[0][0] if lines.record else 0
        plain = lines.plain_row(header) if problem or len(lines.record) > 1 else None
        if problem or plain:
            lines.take_back()
            reader = header.reader(lines)
        if problem and not plain:
            size = lines.record[0][1] is None
            yield Remark(file, line, "E_ROW_SIZE" if size else "E_ROW_BROKEN", problem)
        elif values := plain or values:
            if lines.remark:
                yield lines.remark
            yield make_row(file, line, dict(zip(header.names, values, strict=True)), config.fields)


def csv_columns(path: Path) -> list[str]:
    """Column names of a file."""
    return _read_header(_Lines(read_lines(path), ""), path, set()).names


def _read_header(lines: _Lines, path: Path, wanted: set[str]) -> _Header:
    """The header, by the delimiter that the file states, under which the wanted names are there, or that is likeliest.

    Raises:
        DataError: If there is none.
    """
    try:
        text = next(lines)
        stated = SEPARATOR.fullmatch(text)
        text = next(lines) if stated else text
        headers = [_parse_header(text, mark) for mark in (stated[1] if stated else DELIMITERS)]
    except StopIteration:
        raise DataError(f"{path}: an empty file. Restore it") from None
    except (_TooLong, csv.Error):
        raise DataError(f"{path}: its first line is no header. Put one there, as image,text") from None
    likeliest = max(headers, key=lambda header: len(header.names))
    return next((header for header in headers if wanted and wanted <= set(header.names)), likeliest)


def _parse_header(text: str, mark: str) -> _Header:
    cells = next(csv.reader([text], delimiter=mark), [])
    spaced = len(cells) > 1 and all(cell.startswith(" ") for cell in cells[1:])
    if spaced:
        cells = next(csv.reader([text], delimiter=mark, skipinitialspace=True), [])
    return _Header([cell.strip() for cell in cells], mark, spaced)
