"""Where the images, the decisions and the model of a table of labels are, if nobody says otherwise."""

from dataclasses import dataclass
from pathlib import Path

from deixis.core.errors import DataError
from deixis.core.records import read_json
from deixis.exports.rows import ALLOWED
from reviewing.places import LOG, decisions_folder, images_table

LABELS = "labels.parquet"
RELABELLED = ("-corrected", "-rated", "-res")  # what the graph adds to a teacher's name where it works on its labels


@dataclass(frozen=True)
class Places:
    """Files of one review.

    Attributes:
        image_root: As stated; None where it is to be looked for.
        log: SQLite; the table of decisions is beside it.
        model: The checkpoint that gave the labels; None where it is not here any more.
    """

    labels: Path
    images: Path
    image_root: Path | None
    log: Path
    model: Path | None


def places_of(
    labels: Path, *, images: Path | None = None, image_root: Path | None = None, log: Path | None = None
) -> Places:
    """The places of some labels, as stated or as the graph and `deixis label` have them.

    Args:
        labels: labels.parquet, or the folder it is in.

    Raises:
        DataError: If there are no labels.
    """
    labels = labels / LABELS if labels.is_dir() else labels
    if not labels.exists():
        raise DataError(f"{labels}: missing. {ALLOWED}")
    return Places(
        labels,
        images or _as_written(images_table(labels)),
        image_root,
        log or _as_written(decisions_folder(labels)) / LOG,
        _trained(labels.absolute()) or _labeller(labels.parent),
    )


def _as_written(path: Path) -> Path:
    """From the working directory on, as people write it, where it is in there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _trained(labels: Path) -> Path | None:
    """The teacher that the graph labelled with; None where no such one is there."""
    if len(labels.parents) < 4:
        return None
    name, dataset, data = labels.parent.name, labels.parents[1].name, labels.parents[3]
    for ending in RELABELLED:
        name = name.removesuffix(ending)
    places = [data / kind / dataset / name for kind in ("teachers", "map_teachers")]
    return next((_as_written(place) for place in places if (place / "config.json").exists()), None)


def _labeller(folder: Path) -> Path | None:
    """The model that `deixis label` wrote a folder with."""
    summary = folder / "summary.json"
    stated = read_json(summary, made_by="deixis label") if summary.is_file() else None
    model = stated.get("model") if isinstance(stated, dict) else None
    return Path(model) if isinstance(model, str) and (Path(model) / "config.json").exists() else None
