"""The table of decisions: what DVC versions and training reads.

One row per phrase, in the order of sample_id; equal decisions give equal bytes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.records import write_atomically
from reviewing.decisions import VERDICTS, Box, Decision

BOX = pa.list_(pa.float64())
SCHEMA = pa.schema([
    ("sample_id", pa.string()), ("image_id", pa.int64()), ("expression", pa.string()), ("verdict", pa.string()),
    ("box", BOX), ("label_box", BOX), ("teacher", pa.string()), ("checkpoint_sha256", pa.string()),
    ("who", pa.string()), ("when", pa.string()), ("source", pa.string()),
])  # fmt: skip
REMEDY = "Write it with deixis serve or deixis take-decisions"


def write_decisions(decisions: Iterable[Decision], path: Path) -> None:
    """Write Parquet, in the order of sample_id, whole or not at all."""
    rows = sorted((asdict(decision) for decision in decisions), key=lambda row: row["sample_id"])
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def read_decisions(path: Path) -> list[Decision]:
    """Read what `write_decisions` wrote.

    Raises:
        DataError: If the file is not such a table, a phrase is there twice, or a verdict and its box do not fit.
    """
    with foreign_bytes(path, "a table of decisions", REMEDY, missing=REMEDY), pq.ParquetFile(path) as file:
        lacking = [name for name in SCHEMA.names if name not in file.schema_arrow.names]
        if lacking:
            raise DataError(f"{path}: not a table of decisions: lacks {', '.join(lacking)}. {REMEDY}")
        table = file.read(columns=SCHEMA.names).select(SCHEMA.names).cast(SCHEMA)
        table.validate(full=True)
        rows = table.to_pylist()
    counts = Counter(row["sample_id"] for row in rows)
    if twice := [sample_id for sample_id, count in counts.items() if count > 1]:
        raise DataError(f"{path}: {twice[0]} is there twice. Allowed: one decision a phrase. {REMEDY}")
    return [_decision(row, path) for row in rows]


def _decision(row: dict[str, Any], path: Path) -> Decision:
    if gaps := [name for name in SCHEMA.names if row[name] is None and name not in ("box", "label_box")]:
        raise DataError(f"{path}: {row['sample_id']} has no {gaps[0]}. {REMEDY}")
    boxes: dict[str, Any] = {name: _box(row[name], row["sample_id"], path) for name in ("box", "label_box")}
    fits = (boxes["box"] is None) == (row["verdict"] == "reject")
    if row["verdict"] not in VERDICTS or not fits:
        raise DataError(
            f"{path}: {row['sample_id']} has verdict {row['verdict']!r} and box {row['box']}. Allowed: "
            f"{', '.join(VERDICTS)}; all but reject have a box. {REMEDY}"
        )
    return Decision(**(row | boxes))


def _box(sides: list[Any] | None, sample_id: str, path: Path) -> Box | None:
    if sides is None:
        return None
    if len(sides) == 4 and np.isfinite(np.array(sides, float)).all() and sides[0] < sides[2] and sides[1] < sides[3]:
        return sides[0], sides[1], sides[2], sides[3]
    raise DataError(f"{path}: {sample_id} has the box {sides}. Allowed: left, top, right, bottom in pixels. {REMEDY}")
