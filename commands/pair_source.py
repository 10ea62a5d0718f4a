"""Pairs to label: a prepared dataset, or a table of images and phrases that is prepared first."""

from dataclasses import dataclass, replace
from pathlib import Path

from deixis.core.errors import ConfigError, DataError
from deixis.core.registry import resolve
from deixis.datasets import DATASETS
from deixis.datasets.pairs.adapter import then_run
from deixis.datasets.pairs.guess import guess_fields, read_names
from deixis.datasets.pairs.sources import find_sources

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
    def image_folders(self) -> tuple[Path, Path]:
        """Where images may lie: below the root, or beside the tables, where preparing put copies."""
        return self.image_root.resolve(), (self.images.parent / "images").resolve()


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
    if (path / "pairs.parquet").exists():
        places = [path / "images", path.resolve().parents[1] / "raw" / path.resolve().name / "images"]
        root = _first_folder(path, [images] if images else places)
        return PairSource(path / "pairs.parquet", path / "images.parquet", root, None)
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
    adapter(config).ingest(raw=raw, out=out, dataset=path.stem, again="deixis label")
    return PairSource(out / "pairs.parquet", out / "images.parquet", root, out / "quarantine.parquet")


def _first_folder(path: Path, places: list[Path]) -> Path:
    for place in places:
        if place.is_dir():
            return place
    tried = ", ".join(map(str, places))
    raise DataError(f"{path}: its folder of images was not found. Tried: {tried}. Name it with --images FOLDER")
