"""What was refused, and why: one row per refusal, so that nothing valid is lost with it.

Codes starting with E_ keep a row out; those starting with W_ only note it.
"""

import reprlib
from pathlib import Path
from typing import Literal

import pandas as pd

from deixis.core.errors import DataError

Code = Literal[  # docs/quarantine.md says what each means and how to fix it
    "E_ROW_BROKEN", "E_ROW_SIZE", "E_REF_BROKEN", "E_ID_BAD", "E_ID_DUP", "W_ENCODING",
    "E_IMG_MISSING", "E_IMG_EMPTY", "E_IMG_PATH", "E_IMG_URL", "E_IMG_KIND", "E_IMG_TRUNC", "E_IMG_HUGE", "E_IMG_SIZE",
    "E_IMG_AMBIGUOUS", "W_EXIF", "W_IMG_FRAMES", "W_IMG_MODE", "W_IMG_DUP", "W_IMG_NO_TEXT",
    "E_TEXT_EMPTY", "E_TEXT_TYPE", "E_TEXT_SIZE", "E_TEXT_ENCODING", "W_TEXT_LONG", "W_TEXT_CONTROL", "W_DUP_TEXT",
    "E_SPLIT_BAD", "E_SPLIT_OVERLAP",
    "E_BOX_BROKEN", "E_BOX_RANGE", "E_BOX_DEGENERATE", "E_BOX_MISSING", "W_BOX_OUTSIDE", "W_BOX_LOOSE",
    "E_MASK_BROKEN", "E_MASK_EMPTY", "W_MASK_PART",
]  # fmt: skip


class _Shown(reprlib.Repr):
    """For rows: what stands for one is said in full, of integers with more digits than Python writes their size."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = 200

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 256 else f"an integer of {x.bit_length()} bits"


def shown(value: object) -> str:
    """A foreign value in a few words, whatever its size."""
    return _Shown().repr(value)


class Quarantine:
    """Collects refusals while a dataset is read."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, str, str]] = []

    def add(self, file: Path | str, line: int, code: Code, value: object) -> None:
        """Note one refusal; `line` is the position of the row in its file, from 0."""
        self._rows.append((str(file), line, code, str(value)[:200]))

    def table(self) -> pd.DataFrame:
        """All refusals: file, line, code, value."""
        return pd.DataFrame(self._rows, columns=["file", "line", "code", "value"])

    def refuse_above(self, share: float, *, of: int, dataset: str) -> None:
        """End the run when more than `share` of `of` rows were refused; a share of 1 tolerates everything.

        Raises:
            DataError: Naming the codes, the first example and the way out.
        """
        errors = [row for row in self._rows if row[2].startswith("E_")]
        if share >= 1 or len(errors) <= share * of:  # one row may have several errors
            return
        counts = pd.Series([row[2] for row in errors]).value_counts()
        listed = ", ".join(f"{count} {code}" for code, count in counts.items())
        file, line, code, value = errors[0]
        raise DataError(
            f"{dataset}: {len(errors)} of {of} rows are bad ({listed}); the first: {file} row {line}: {code} {value}. "
            f"Allowed: a share of {share:g} (datasets.{dataset}.max_quarantined). "
            "All are listed in quarantine.parquet. Fix the files or raise the share, "
            f"then run: dvc repro prepare@{dataset}"
        )
