"""Lines of text files whose encoding and line ends nobody knows for sure."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from deixis.datasets.pairs.rows import Remark

MAX_LINE = 1 << 20  # bytes; a longer line is no phrase, and must not fill the memory
BOMS_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
RARE = 40  # bytes to a zero, where it may be damage
ENDS = ("\n", b"\n", "\r")


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Place and bytes of every line, line end included; None for one that is too long.

    UTF-16 (a spreadsheet's "Unicode text") is handed over as UTF-8. Where the
    first mebibyte has carriage returns and no line feed, as Excel for Mac saves text, they end the lines.
    """
    with path.open("rb") as stream:
        start = stream.read(MAX_LINE)
        if encoding := utf_16(start):
            with path.open(encoding=encoding, errors="replace", newline="") as text:
                for line, content in _bounded(text):
                    yield line, content.encode() if content is not None else None
            return
        mark = len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0
        if b"\r" in start and b"\n" not in start:
            with path.open(encoding="latin-1", newline="\r") as text:  # a character for every byte
                text.read(mark)
                for line, content in _bounded(text):
                    yield line, content.encode("latin-1") if content is not None else None
            return
        stream.seek(mark)
        yield from _bounded(stream)


def read_whole(path: Path, file: str) -> tuple[str, Remark | None]:
    """Text of a file, whatever its encoding, with a remark where it is not Unicode."""
    content = path.read_bytes()
    if encoding := utf_16(content):
        return content.decode(encoding, "replace"), None
    return decode(content.removeprefix(codecs.BOM_UTF8), file, 0)


def utf_16(start: bytes) -> str | None:
    """Which UTF-16 a file is that begins so: by its mark, or by the zeros that stand in every other place of it.

    Line ends and delimiters have one, whatever the script; text in another encoding has none.
    """
    if start[:2] in BOMS_16:
        return "utf-16"
    zeros = [start[place::2].count(0) for place in (0, 1)]
    if max(zeros) * RARE < len(start) or min(zeros) * 10 > max(zeros):
        return None
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def _bounded(stream):  # type: ignore[no-untyped-def] # of text or of bytes, and of the same again
    line = 0
    while content := stream.readline(MAX_LINE):
        whole = content[-1:] in ENDS or len(content) < MAX_LINE
        yield line, content if whole else None
        while not whole:
            rest = stream.readline(MAX_LINE)
            whole = not rest or rest[-1:] in ENDS
        line += 1


def decode(raw: bytes, file: str, line: int) -> tuple[str, Remark | None]:
    """Text of a line: UTF-8, or Windows' code page 1252 where it is not, with a remark."""
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError:
        text = _windows(raw)
        return text, Remark(file, line, "W_ENCODING", f"not UTF-8, read as Windows-1252: {text.strip()[:200]}")


def _windows(raw: bytes) -> str:
    """The five bytes that the code page leaves open are what Latin-1 says."""
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
