"""The adapter: scan a corpus and report, or ingest it into the tables that every dataset has."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deixis.core.errors import ConfigError, DataError
from deixis.core.records import file_sha256, write_json
from deixis.datasets.pairs.check_across import check_across
from deixis.datasets.pairs.check_boxes import check_boxes
from deixis.datasets.pairs.check_images import COPIES, Places, check_images
from deixis.datasets.pairs.check_rows import stage_rows
from deixis.datasets.pairs.ledger import Ledger
from deixis.datasets.pairs.settings import PairsConfig
from deixis.datasets.pairs.sources import IMAGES, find_sources, read_rows
from deixis.datasets.pairs.write_tables import write_quarantine, write_tables

TABLES = ("pairs", "truth", "images", "objects", "quarantine")
EXAMPLES = 3  # of each code, in a report
MAX_SOURCES = 100  # listed in a report one by one


class PairsAdapter:
    """Images and phrases of a user's own: JSON, CSV, Parquet, a saved Hugging Face dataset, COCO or sidecar texts."""

    Config = PairsConfig

    def __init__(self, config: PairsConfig) -> None:
        self._config = config

    def scan(self, *, raw: Path, dataset: str, again: str) -> dict[str, Any]:
        """Check everything as `ingest` does and write nothing; returns what was found.

        Args:
            again: What to run once the corpus is fixed.
        """
        with tempfile.TemporaryDirectory(prefix="deixis-scan-") as work:
            with self._survey(raw, Path(work), COPIES, dataset, again) as (ledger, left_out, _):
                return summarise(ledger, left_out, dataset)

    def ingest(self, *, raw: Path, out: Path, dataset: str, again: str | None = None, scored: bool = True) -> None:
        """Check every row and image of `raw`; write the tables, copies of images that need one, and a manifest.

        Nothing in `raw` changes. The same corpus and settings give the same manifest.

        Args:
            again: What to run once the corpus is fixed; by default the stage.
            scored: Whether some splits are for evaluation, which needs boxes; without, all pairs are only labelled.

        Raises:
            DataError: If too large a share of the rows is refused (quarantine.parquet then lists them), or all are.
        """
        out.mkdir(parents=True, exist_ok=True)
        for left in out.glob(".ingest-*"):  # of a run that was killed
            shutil.rmtree(left)
        reached = os.path.relpath(os.path.abspath(out / COPIES), os.path.abspath(raw / IMAGES))
        with tempfile.TemporaryDirectory(dir=out, prefix=".ingest-") as name:
            work = Path(name)
            again = again or f"dvc repro prepare@{dataset}"
            seen = Path(reached).as_posix()
            with self._survey(raw, work, seen, dataset, again, scored=scored) as (ledger, left_out, sources):
                write_quarantine(ledger, work / "quarantine.parquet")
                report = summarise(ledger, left_out, dataset)
                try:
                    self._refuse(report, raw, out, dataset)
                except DataError:
                    os.replace(work / "quarantine.parquet", out / "quarantine.parquet")
                    raise
                write_tables(ledger, work, licence=self._config.licence)
            write_json(self._manifest(report, sources, raw, work), work / "manifest.json")
            _install(work, out)

    @contextmanager
    def _survey(
        self, raw: Path, work: Path, copies_seen: str, dataset: str, again: str, *, scored: bool = True
    ) -> Iterator[tuple[Ledger, int, list[Path]]]:
        """A ledger in which every row is checked, the number of rows left out for their split, and the files read."""
        config = self._config
        with then_run(again):
            kind, paths = find_sources(raw, config)
            if kind == "coco" and config.boxes not in (None, "none", "xywh_abs"):
                raise ConfigError(
                    f"datasets.{dataset}.boxes is {config.boxes}, but COCO's boxes are xywh_abs. Allowed: xywh_abs, "
                    "none, or leave it out. Fix params.yaml"
                )
            if kind == "coco" and config.boxes is None:
                config = PairsConfig(**{**vars(config), "boxes": "xywh_abs"})
            places = Places(raw, raw / IMAGES, work / "blobs", work / COPIES, copies_seen)
            places.blobs.mkdir()
            places.copies.mkdir()
            with closing(Ledger(work / "ledger.sqlite")) as ledger:
                rows = read_rows(raw, config, kind, paths)
                left_out = stage_rows(rows, ledger, dataset=dataset, config=config, blobs=places.blobs, scored=scored)
                check_images(ledger, places)
                if config.boxes not in (None, "none"):
                    check_boxes(ledger, config.boxes, is_coco=kind == "coco")
                check_across(ledger, val_share=config.val_share, scored=scored)
                yield ledger, left_out, paths

    def _refuse(self, report: dict[str, Any], raw: Path, out: Path, dataset: str) -> None:
        """End the ingest when too many rows are bad, or none is good."""
        by_count = sorted(report["codes"].items(), key=lambda item: -item[1]["count"])
        errors = {code: facts for code, facts in by_count if code.startswith("E_")}
        listed = ", ".join(f"{facts['count']} {code}" for code, facts in errors.items()) or "nothing was refused"
        first = next((f"; the first: {facts['examples'][0]}" for facts in errors.values()), "")
        bad, of = bad_and_all(report)
        if bad > self._config.max_quarantined * of:
            raise DataError(
                f"{dataset}: {bad} of {of} rows and images are bad ({listed}){first}. Allowed: a "
                f"share of {self._config.max_quarantined:g} (datasets.{dataset}.max_quarantined). All are listed in "
                f"{out}/quarantine.parquet. Fix the files (docs/own-data.md) or raise the share"
            )
        if not report["pairs"]:
            raise DataError(
                f"{raw}: no usable pair of image and phrase ({listed}){first}. All are listed in "
                f"{out}/quarantine.parquet. Fix the files (docs/own-data.md)"
            )

    def _manifest(self, report: dict[str, Any], sources: list[Path], raw: Path, work: Path) -> dict[str, Any]:
        """What went in and came out, by content."""
        tables = {name: file_sha256(work / f"{name}.parquet") for name in TABLES}
        facts = {
            "settings": asdict(self._config),
            "sources": {path.relative_to(raw).as_posix(): _content(path) for path in sources},
            "rows": report["rows"],
            "pairs": report["pairs"],
            "splits": report["splits"],
            "tables": tables,
        }
        return facts | {"sha256": hashlib.sha256(repr(facts).encode()).hexdigest()}


@contextmanager
def then_run(command: str) -> Iterator[None]:
    """End errors, which say what to fix, with what to run afterwards, which who called knows."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(f"{error}, then run: {command}") from None


def bad_and_all(report: dict[str, Any]) -> tuple[int, int]:
    """How many rows and images of a survey are bad, each once, and how many there are."""
    return report["rows_bad"], report["rows"] + report["pictures_named"]


def summarise(ledger: Ledger, left_out: int, dataset: str) -> dict[str, Any]:
    """Counts of rows, pairs and images; of every code its count and first examples; rows of every file."""
    codes: dict[str, Any] = {}
    for code, count in ledger.select("SELECT code, COUNT(*) FROM remarks GROUP BY code ORDER BY code"):
        first = ledger.select(
            f"SELECT file, line, value FROM remarks WHERE code = ? ORDER BY file, line, value LIMIT {EXAMPLES}", code
        )
        codes[code] = {
            "count": count,
            "examples": [f"{file} row {line}: {code} {value}" for file, line, value in first],
        }
    usable = "rows WHERE NOT refused AND sample IS NOT NULL"
    return {
        "dataset": dataset,
        "rows": ledger.one("SELECT COALESCE(SUM(count), 0) FROM files"),
        "rows_left_out": left_out,
        "rows_bad": ledger.one("SELECT COUNT(*) FROM (SELECT DISTINCT file, line FROM remarks WHERE code GLOB 'E_*')"),
        "pairs": ledger.one(f"SELECT COUNT(*) FROM {usable}"),
        "pairs_with_box": ledger.one(f"SELECT COUNT(x0) FROM {usable}"),
        "pictures_named": ledger.one("SELECT COUNT(*) FROM images"),
        "pictures": ledger.one("SELECT COUNT(DISTINCT number) FROM images"),
        "splits": dict(ledger.select(f"SELECT split, COUNT(*) FROM {usable} GROUP BY split ORDER BY split")),
        "codes": codes,
        "sources": dict(ledger.select(f"SELECT file, count FROM files ORDER BY file LIMIT {MAX_SOURCES}")),
    }


def _content(path: Path) -> str:
    """Checksum of a file, or of the names and checksums of a folder's files (its images are in images.parquet)."""
    if path.is_file():
        return file_sha256(path)
    whole = hashlib.sha256()
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        for name in sorted(names):
            if name.endswith((".txt", ".json", ".arrow")):
                file = Path(folder) / name
                whole.update(f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n".encode())
    return whole.hexdigest()


def _install(work: Path, out: Path) -> None:
    """Move what was written into place; the manifest last, since it vouches for the rest."""
    if (out / COPIES).exists():
        os.replace(out / COPIES, work / "old")
    if any((work / COPIES).iterdir()):
        os.replace(work / COPIES, out / COPIES)
    for name in (*(f"{table}.parquet" for table in TABLES), "manifest.json"):
        os.replace(work / name, out / name)
