"""Which files hold the pairs, and which reader reads them."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from deixis.core.errors import ConfigError, DataError
from deixis.datasets.companions import is_companion
from deixis.datasets.pairs.arrow_files import read_hf, read_parquet
from deixis.datasets.pairs.coco_files import is_coco, read_coco
from deixis.datasets.pairs.csv_files import read_csv
from deixis.datasets.pairs.json_files import read_json_list, read_jsonl
from deixis.datasets.pairs.rows import RowOrRemark
from deixis.datasets.pairs.settings import Format, PairsConfig
from deixis.datasets.pairs.sidecars import read_sidecars

SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".json": "json",
}
READERS: dict[Format, Callable[..., Iterator[RowOrRemark]]] = {
    "jsonl": read_jsonl,
    "json": read_json_list,
    "coco": read_coco,
    "csv": read_csv,
    "parquet": read_parquet,
    "hf": read_hf,
    "sidecars": read_sidecars,
}
HF_MARKERS = ("dataset_dict.json", "state.json")
IMAGES = "images"  # folder of images below the raw folder, where every later stage looks for them


def find_sources(raw: Path, config: PairsConfig) -> tuple[Format, list[Path]]:
    """Format and files (or the one folder) of a corpus, files in order of their names.

    Raises:
        ConfigError: If the setting names nothing, or if what is there could be read in two ways.
        DataError: If there is nothing to read, or a file lies outside the raw folder.
    """
    if not raw.is_dir():
        raise DataError(f"{raw}: no such folder. Put the corpus there (docs/own-data.md)")
    paths = _named(raw, config.source) if config.source else [raw]
    for path in paths:
        if not path.resolve().is_relative_to(raw.resolve()):
            raise DataError(f"{path}: outside {raw}. Copy it there")
    if len(paths) == 1 and paths[0].is_dir():
        return _look_into(paths[0], raw, config.format)
    return _one_format(paths, raw, config.format), paths


def read_rows(raw: Path, config: PairsConfig, kind: Format, paths: list[Path]) -> Iterator[RowOrRemark]:
    """Rows of all files, in order."""
    for path in paths:
        file = path.relative_to(raw).as_posix()
        yield from READERS[kind](path, file=file, config=config)


def _named(raw: Path, source: str) -> list[Path]:
    if ".." in Path(source).parts or Path(source).is_absolute():
        raise ConfigError(
            f"datasets.<name>.source is {source}: it leaves {raw}. Allowed: a file, folder or pattern below it. "
            "Fix params.yaml"
        )
    literal = raw / source
    paths = [literal] if literal.exists() else _own(raw.glob(source))
    if not paths:
        raise ConfigError(
            f"datasets.<name>.source is {source}: nothing in {raw} has that name. Fix params.yaml or put it there"
        )
    return paths


def _look_into(folder: Path, raw: Path, stated: Format | None) -> tuple[Format, list[Path]]:
    """Format and files of a folder."""
    if stated in (None, "hf") and any((folder / marker).is_file() for marker in HF_MARKERS):
        return "hf", [folder]
    if stated == "sidecars":
        return "sidecars", [folder]
    files = _own(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if stated is not None:
        files = [path for path in files if SUFFIXES[path.suffix.lower()] == ("json" if stated == "coco" else stated)]
    if files:
        return _one_format(files, raw, stated), files
    if stated is None and _own((folder / IMAGES).rglob("*.txt")):
        return "sidecars", [folder]
    raise DataError(
        f"{folder}: nothing to read. Allowed: .jsonl, .csv, .tsv, .parquet or .json files, a dataset saved to disk, or "
        f"{IMAGES}/ with a .txt beside each image. Put it there (docs/own-data.md)"
    )


def _own(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if not is_companion(path.name))


def _one_format(files: list[Path], raw: Path, stated: Format | None) -> Format:
    if stated is not None:
        return stated
    kinds = {SUFFIXES.get(path.suffix.lower()) for path in files}
    if len(kinds) > 1 or None in kinds:
        names = ", ".join(path.relative_to(raw).as_posix() for path in files[:5])
        raise ConfigError(
            f"{raw}: {names} could be read in more than one way, or in none. Leave one there, or name "
            "the file with datasets.<name>.source or the format with datasets.<name>.format in params.yaml"
        )
    kind: Format = next(iter(kinds))  # type: ignore[assignment]
    return "coco" if kind == "json" and is_coco(files[0]) else kind
