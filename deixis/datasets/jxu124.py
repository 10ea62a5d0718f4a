"""The Parquet files of `jxu124/refcoco`, `refcocoplus` and `refcocog`: one row per ref, no pixels.

`sentences` holds the phrases; the annotation and the image are JSON texts in `raw_anns` and `raw_image_info`. Their
`bbox` column is not read: its convention is not documented, that of `raw_anns` is COCO's. The hosted split `test` of
refcoco and refcocoplus is testA.
"""

from dataclasses import field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.datasets.arrow_rows import UnreadableRow, plain_rows
from deixis.datasets.companions import is_companion
from deixis.datasets.foreign_json import parse_json
from deixis.datasets.referring import ReferringConfig, ReferringSource, RefRow, TextField, ingest_referring
from deixis.datasets.tables import id_key, known_split, whole_ids

COLUMNS = ("ref_id", "image_id", "category_id", "split", "sentences", "raw_anns", "raw_image_info")
HostedRow = tuple[Path, int, dict[str, Any] | UnreadableRow]


@dataclass(frozen=True, config=STRICT)
class Jxu124Config(ReferringConfig):
    """One hosted set."""

    text: TextField = "raw"  # what models read; `expression` stays as typed
    splits: dict[str, str] = field(default_factory=lambda: {"validation": "val"})  # names as hosted -> ours


class Jxu124Adapter:
    """Reads the Parquet files of one hosted set."""

    Config = Jxu124Config

    def __init__(self, config: Jxu124Config) -> None:
        self.config = config

    def ingest(self, *, raw: Path, out: Path, dataset: str) -> None:
        """Write the tables of all Parquet files under the raw folder."""
        source = translate(read_rows(raw), raw=raw, config=self.config)
        ingest_referring(source, self.config, raw=raw, out=out, dataset=dataset)


def read_rows(raw: Path) -> list[HostedRow]:
    """File, line and row of every Parquet file, in the order of names.

    Raises:
        DataError: If there is no file, or one of them is not whole or lacks a column.
    """
    files = sorted(path for path in raw.rglob("*.parquet") if not is_companion(path.name))
    if not files:
        raise DataError(f"{raw}: no Parquet file. Put those of jxu124's set there, then run: dvc repro prepare")
    rows = []
    for file in files:
        with foreign_bytes(file, "a whole Parquet file", "Fetch it again, then run: dvc repro prepare"):
            _check_columns(pq.read_schema(file).names, file)
            table = pq.read_table(file, columns=list(COLUMNS))
        rows += [(file, line, row) for line, row in enumerate(plain_rows(table))]
    return rows


def _check_columns(names: list[str], file: Path) -> None:
    missing, repeated = set(COLUMNS) - set(names), {name for name in COLUMNS if names.count(name) > 1}
    if missing or repeated:
        wrong = f"lacks {', '.join(sorted(missing))}" if missing else f"has {', '.join(sorted(repeated))} twice"
        raise DataError(
            f"{file}: {wrong}; has {', '.join(names)}. Fetch the set's current files, then run: dvc repro prepare"
        )


def translate(rows: list[HostedRow], *, raw: Path, config: Jxu124Config) -> ReferringSource:
    """Rows in RefCOCO's words; a row whose JSON is broken has no annotation, and one that cannot be read is no ref."""
    images: dict[str, Any] = {}
    annotations: list[Any] = []
    refs: list[RefRow] = []
    for file, line, row in rows:
        if isinstance(row, UnreadableRow):
            refs.append(RefRow(file, line, row))
            continue
        row = whole_ids(row, "ref_id", "image_id", "category_id")
        image = whole_ids(_parsed(row["raw_image_info"]), "id")
        annotation = whole_ids(_parsed(row["raw_anns"]), "image_id")
        ref = {name: row[name] for name in ("ref_id", "image_id", "category_id", "sentences")}
        ref["split"] = _split(row["split"], config)
        key = id_key(row["image_id"])
        if image is not None and annotation is not None and key is not None and str(image.get("id")) == key:
            images.setdefault(key, image)
            ref["ann_id"] = f"{file.name}:{line}"
            annotations.append(annotation | {"id": ref["ann_id"]})
        refs.append(RefRow(file, line, ref))
    return ReferringSource(
        file=raw,
        images=list(images.values()),
        annotations=annotations,
        categories={},
        refs=refs,
        text_field=config.text,
        lists_every_object=False,
    )


def _split(hosted: Any, config: Jxu124Config) -> Any:
    return config.splits.get(hosted, known_split(hosted)) if isinstance(hosted, str) else hosted


def _parsed(text: Any) -> dict[str, Any] | None:
    """A JSON text with an object, or None."""
    try:
        value = parse_json(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
