"""Where decisions about a table of labels are kept, and where its images are listed."""

import os
from pathlib import Path

LOG, TABLE = "log.sqlite", "decisions.parquet"


def decisions_folder(labels: Path) -> Path:
    """data/decisions/<dataset> for labels of the graph, whichever teacher's; for others `decisions` beside them."""
    data = _data_folder(labels)
    return labels.parent / "decisions" if data is None else data / "decisions" / _plain(labels).parents[1].name


def images_table(labels: Path) -> Path:
    """images.parquet of the labels' images: in data/prepared/<dataset>, or what `deixis label` has prepared."""
    data = _data_folder(labels)
    if data is None:
        return labels.parent / "prepared" / "images.parquet"
    return data / "prepared" / _plain(labels).parents[1].name / "images.parquet"


def _plain(path: Path) -> Path:
    """The whole path without "..", and as it was named: a link keeps its own place in the graph."""
    return Path(os.path.normpath(path.absolute()))


def _data_folder(labels: Path) -> Path | None:
    """`data` of data/labels/<dataset>/<teacher>/labels.parquet; None where the table lies elsewhere."""
    folders = _plain(labels).parents
    in_graph = len(folders) > 3 and folders[2].name == "labels" and folders[3].name == "data"
    return folders[3] if in_graph else None
