"""Tables and metrics that appear whole or not at all."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from deixis.core.columns import check_columns, check_gaps
from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(Path(temporary))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(value: Any, path: Path) -> None:
    """Write readable JSON: keys in the order given (a router's experts are numbered by it), no NaN."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path, *, made_by: str) -> Any:
    """Read JSON that the stage `made_by` wrote."""
    if path.is_dir():
        raise DataError(f"{path}: cannot be read: Is a directory. It is written by {made_by}")
    missing = f"It is written by {made_by}; run: dvc repro {made_by}"
    with foreign_bytes(path, "valid JSON", f"Delete it, then run: dvc repro {made_by}", missing=missing):
        return json.loads(path.read_text(encoding="utf-8"))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write Parquet."""
    write_atomically(path, lambda temporary: table.to_parquet(temporary, index=False))


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write CSV with six significant digits, for plots."""
    write_atomically(path, lambda temporary: table.to_csv(temporary, index=False, float_format="%.6g"))


def read_table(path: Path, *, columns: tuple[str, ...], made_by: str, optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read the named columns of a Parquet file that the stage `made_by` wrote, and the optional ones that it has.

    Raises:
        DataError: If the file is missing, cut short, or lacks a column, or one holds something else than its name says.
    """
    if path.is_dir():  # pandas would read what lies in it
        raise DataError(f"{path}: a folder. Name a Parquet file that {made_by} wrote")
    missing = f"It is written by {made_by}; run: dvc repro {made_by}"
    again = f"Run: dvc repro -f {made_by}"
    with foreign_bytes(path, "a whole Parquet file", again, missing=missing):
        schema = pq.read_schema(path)
    lacking = [column for column in columns if column not in schema.names]
    if lacking:
        raise DataError(f"{path}: lacks {', '.join(lacking)}; has {', '.join(schema.names)}. {again}")
    wanted = [*columns, *(column for column in optional if column in schema.names)]
    check_columns(schema, wanted, path=path, remedy=again)
    with foreign_bytes(path, "a whole Parquet file", again), pq.ParquetFile(path) as file:
        stored = file.read(columns=wanted, use_pandas_metadata=True)
        stored.validate(full=True)  # of damaged text, pandas would say so where it is looked at
        table = stored.to_pandas()[wanted]
    check_gaps(table, path=path, remedy=again)
    return table


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def described_file(folder: Path, name: str = "model.safetensors", *, made_by: str) -> Path:
    """A file of a checkpoint's folder, once it has the checksum that the card states. Its format would not tell damage.

    Raises:
        DataError: If it is missing or has another checksum, or the card states none.
    """
    path = folder / name
    if not path.is_file():
        raise DataError(f"{path}: missing. It is written by {made_by}; run: dvc repro {made_by}")
    card = read_json(folder / "config.json", made_by=made_by)
    stated = card.get("sha256") if isinstance(card, dict) else None
    if not isinstance(stated, str):
        raise DataError(
            f"{folder}/config.json: states no sha256, so that nobody can tell whether {name} is whole. Write the "
            f"checkpoint again: dvc repro -f {made_by}; or, if you trust the file, add its checksum: sha256sum {path}"
        )
    if file_sha256(path) != stated:
        raise DataError(
            f"{path}: not the file that config.json describes (another SHA-256). Restore it, or run: dvc repro -f "
            f"{made_by}"
        )
    return path
