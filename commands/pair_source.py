"""Pairs to label: a prepared dataset, or a table of images and phrases that is prepared first."""

from dataclasses import dataclass, replace
from pathlib import Path

from deixis.core.errors import ConfigError, DataError
from deixis.core.pieces import NO_PIECE, PIECE, is_share
from deixis.core.records import read_table
from deixis.core.registry import resolve
from deixis.datasets import DATASETS
from deixis.datasets.pairs.adapter import then_run
from deixis.datasets.pairs.arrow_files import column_names
from deixis.datasets.pairs.guess import guess_fields, read_names
from deixis.datasets.pairs.sources import find_sources
from deixis.imaging.places import allowed_folders, find_root, usual_roots

ALL_MAY_FAIL = 1.0  # share of rows; whoever labels counts what was refused and goes on with the others


@dataclass(frozen=True)
class PairSource:
    """Tables of pairs and images, and the folder that image paths start from.

    Attributes:
        quarantine: Of the preparation, where it happened here; None otherwise.
    """

    pairs: Path
    images: Path
    image_root: Path
    quarantine: Path | None

    @property
    def image_folders(self) -> tuple[Path, ...]:
        """Where images may lie."""
        return allowed_folders(self.images, self.image_root)


def prepare_pairs(path: Path, out: Path, images: Path | None) -> PairSource:
    """The tables of `path`: a folder with pairs.parquet and images.parquet, else what the adapter `pairs` reads.

    Args:
        out: Folder for the tables where they are made here.
        images: Folder of the images; by default `images` beside the pairs, or that of the dataset's raw folder.

    Raises:
        DataError: If there is nothing, or the folder of images is not found.
        ConfigError: If no adapter reads such a file.
    """
    if not path.exists():
        raise DataError(
            f"{path}: no such file or folder. Allowed: a folder with pairs.parquet and images.parquet, or a table with "
            "the columns image and text. Name it with --pairs"
        )
    if _is_prepared(path):
        tables = path / "pairs.parquet", path / "images.parquet"
        return PairSource(*tables, _root_of(tables[1], images), None)
    return _prepare_table(path, out, _images_beside(path, images))


def _images_beside(path: Path, images: Path | None) -> Path:
    """The folder `images` beside a table, which is the only one it may name."""
    root = (path if path.is_dir() else path.parent) / "images"
    if images is not None and images.resolve() != root.resolve():
        raise ConfigError(
            f"--images is {images}. Allowed for {path}: {root}, which is the default; a table names its "
            "images below that folder. Move or link them there"
        )
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder. The images of {path} are looked for there. Put them there, or link their "
            f"folder: ln -s IMAGES {root}"
        )
    return root


def _prepare_table(path: Path, out: Path, root: Path) -> PairSource:
    """Run the adapter `pairs` over a table whose columns are told by their names."""
    adapter = resolve(DATASETS, "pairs", role="dataset adapter")
    source, raw = "" if path.is_dir() else path.name, root.parent
    config = adapter.Config(adapter="pairs", source=source, boxes="none", max_quarantined=ALL_MAY_FAIL)
    with then_run("deixis label"):
        kind, files = find_sources(raw, config)
        config = replace(config, fields=guess_fields(read_names(kind, files[0])))
    if not is_share():
        adapter(config).ingest(raw=raw, out=out, dataset=path.stem, again="deixis label", scored=False)
    elif not (out / "pairs.parquet").exists():
        raise ConfigError(
            f"{out}: no pairs yet, which all shares of {PIECE} need. Run once, before them, the same command with "
            f"{PIECE}={NO_PIECE}"
        )
    return PairSource(out / "pairs.parquet", out / "images.parquet", root, out / "quarantine.parquet")


def _is_prepared(folder: Path) -> bool:
    """Whether a folder holds what preparing writes, and not a corpus whose table is called pairs.parquet.

    Raises:
        DataError: If one of the two tables is missing.
    """
    pairs = folder / "pairs.parquet"
    if not pairs.exists() or not {"sample_id", "image_id"} <= set(column_names(pairs, "parquet")):
        return False
    if not (folder / "images.parquet").exists():
        raise DataError(
            f"{folder}: looks prepared, since pairs.parquet has sample_id and image_id, but lacks images.parquet. Copy "
            "it there from where pairs.parquet was made, or name a table with the columns image and text: --pairs"
        )
    return True


def _root_of(table: Path, stated: Path | None) -> Path:
    """The folder of images as stated, else the one that holds them, else the first of the usual ones that is there."""
    usual = list(reversed(usual_roots(table)))
    listed = read_table(table, columns=("path",), made_by="prepare")["path"].tolist()
    found = find_root(table, listed) if stated is None else None
    places = [stated] if stated else [found] if found else usual
    for place in places:
        if place.is_dir():
            return place
    tried = ", ".join(map(str, places))
    raise DataError(f"{table.parent}: its folder of images was not found. Tried: {tried}. Name it with --images FOLDER")
