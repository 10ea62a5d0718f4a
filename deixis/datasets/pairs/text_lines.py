"""Lines of text files whose encoding nobody knows for sure."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from deixis.datasets.pairs.rows import Remark

MAX_LINE = 1 << 20  # bytes; a longer line is no phrase, and must not fill the memory
BOMS_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Place and bytes of every line, line end included; None for one that is too long.

    A file that starts with UTF-16's byte order mark (a spreadsheet's "Unicode text") is handed over as UTF-8.
    """
    with path.open("rb") as stream:
        start = stream.read(3)
        stream.seek(3 if start == codecs.BOM_UTF8 else 0)
        if start[:2] in BOMS_16:
            with path.open(encoding="utf-16", errors="replace", newline="") as text:
                for line, content in _bounded(text):
                    yield line, content.encode() if content is not None else None
        else:
            yield from _bounded(stream)


def _bounded(stream):  # type: ignore[no-untyped-def] # of text or of bytes, and of the same again
    line = 0
    while content := stream.readline(MAX_LINE):
        whole = content[-1:] in ("\n", b"\n") or len(content) < MAX_LINE
        yield line, content if whole else None
        while not whole:
            rest = stream.readline(MAX_LINE)
            whole = not rest or rest[-1:] in ("\n", b"\n")
        line += 1


def decode(raw: bytes, file: str, line: int) -> tuple[str, Remark | None]:
    """Text of a line: UTF-8, or Latin-1 where it is not, with a remark."""
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        return text, Remark(file, line, "W_ENCODING", f"not UTF-8, read as Latin-1: {text.strip()}")
