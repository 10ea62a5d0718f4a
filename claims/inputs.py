"""What every run shares: parameters and pairs of one seed, in a folder of its own."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deixis.batches.samples import PAIR_COLUMNS
from deixis.core.records import read_table, write_table


def write_params(params: dict[str, Any], path: Path) -> Path:
    """Write a parameter file for the stages; returns its path."""
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe", pure=True).dump(params, stream)
    return path


def write_pairs(pairs: Path, folder: Path, *, splits: tuple[str, ...]) -> Path:
    """Write the pairs of some splits, in a folder with the dataset's name, by which stages know it."""
    table = read_table(pairs, columns=PAIR_COLUMNS, optional=("ref_id",), made_by="prepare")
    path = folder / "-".join(splits) / pairs.parent.name / "pairs.parquet"
    write_table(table[table["split"].isin(splits)].reset_index(drop=True), path)
    return path


def link_folders(folder: Path, out: Path, **others: Path) -> Path:
    """One folder with all that lie in `folder` and others, by name and in their place, as stages expect it."""
    out.mkdir()
    for name, path in ({path.name: path for path in folder.iterdir()} | others).items():
        (out / name).symlink_to(path.resolve(), target_is_directory=True)
    return out
