"""Rows, images and remarks of one ingest, in a scratch database on disk.

Memory stays constant in the number of rows: what must be compared across rows (ids, splits, duplicates, order) is
sorted by SQLite, outside memory.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deixis.datasets.pairs.rows import Remark

BATCH = 2000  # rows in memory at a time
SCHEMA = """
CREATE TABLE images(
    key INTEGER PRIMARY KEY, name TEXT, inline INTEGER, file TEXT, line INTEGER, stated_width, stated_height,
    path TEXT, sha256 TEXT, stored_sha256 TEXT, width INTEGER, height INTEGER, mode TEXT, same INTEGER,
    number INTEGER, UNIQUE(name, inline));
CREATE TABLE rows(
    seq INTEGER PRIMARY KEY, file TEXT, line INTEGER, image INTEGER, sample TEXT, grp TEXT, split TEXT,
    expression TEXT, text TEXT, box TEXT, category_id INTEGER, category TEXT, segmentation TEXT,
    x0 REAL, y0 REAL, x1 REAL, y1 REAL, mask TEXT, refused INTEGER DEFAULT 0);
CREATE TABLE remarks(file TEXT, line INTEGER, code TEXT, value TEXT);
CREATE TABLE files(file TEXT PRIMARY KEY, count INTEGER);
"""


class Ledger:
    """The database. Other modules read and mark it through `select`, `run` and `refuse_where`."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.create_function("drawn", 1, lambda sha256: int(sha256[:8], 16), deterministic=True)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-4000", "temp_store=FILE"):
            self._connection.execute(f"PRAGMA {pragma}")  # the file is thrown away, whatever happens
        self._connection.executescript(SCHEMA)
        self._connection.execute("BEGIN")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def add_images(self, images: Iterable[tuple[Any, ...]]) -> None:
        """Add (name, inline, file, line, stated width, stated height); a known name is kept as it is."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO images(name, inline, file, line, stated_width, stated_height) VALUES (?,?,?,?,?,?)",
            images,
        )

    def add_rows(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows whose images are known.

        Each is (file, line, image name, inline, sample, group, split, expression, text, box, category id, category,
        segmentation).
        """
        self._connection.executemany(
            "INSERT INTO rows(file, line, image, sample, grp, split, expression, text, box, category_id, category, "
            "segmentation) VALUES (?,?,(SELECT key FROM images WHERE name=? AND inline=?),?,?,?,?,?,?,?,?,?)",
            rows,
        )

    def add_remarks(self, remarks: Iterable[Remark]) -> None:
        """Add rows of the quarantine."""
        self._connection.executemany(
            "INSERT INTO remarks VALUES (?,?,?,?)",
            ((file, line, code, clean(str(value)[:200])) for file, line, code, value in remarks),
        )

    def count_row(self, file: str, by: int) -> None:
        """Count rows of a file, good and bad."""
        self._connection.execute(
            "INSERT INTO files VALUES (?, ?) ON CONFLICT(file) DO UPDATE SET count = count + excluded.count", (file, by)
        )

    def select(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, a few at a time."""
        yield from self._connection.execute(query, values)

    def one(self, query: str, *values: Any) -> Any:
        """The first value of a query."""
        return self._connection.execute(query, values).fetchone()[0]

    def run(self, statement: str, values: Iterable[tuple[Any, ...]] | None = None) -> None:
        """Execute a statement, once or for each tuple of values."""
        if values is None:
            self._connection.execute(statement)
        else:
            self._connection.executemany(statement, values)

    def refuse_where(self, seqs: str, *, code: str, value: str) -> None:
        """Refuse the rows whose numbers the query `seqs` gives.

        Args:
            seqs: SQL that selects `seq` of rows.
            value: SQL expression over rows, shown in the quarantine.
        """
        self.run("DROP TABLE IF EXISTS chosen")
        self.run(f"CREATE TEMP TABLE chosen AS {seqs}")
        self.remark_chosen(code=code, value=value)
        self.run("UPDATE rows SET refused = 1 WHERE seq IN (SELECT seq FROM chosen)")

    def remark_where(self, seqs: str, *, code: str, value: str) -> None:
        """Only note the rows whose numbers the query `seqs` gives."""
        self.run("DROP TABLE IF EXISTS chosen")
        self.run(f"CREATE TEMP TABLE chosen AS {seqs}")
        self.remark_chosen(code=code, value=value)

    def remark_chosen(self, *, code: str, value: str) -> None:
        """Note the rows of the last choice."""
        self.run(
            f"INSERT INTO remarks SELECT file, line, '{code}', SUBSTR({value}, 1, 200) "
            "FROM rows WHERE seq IN (SELECT seq FROM chosen)"
        )


def clean(text: str) -> str:
    """Text that UTF-8 can carry: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
