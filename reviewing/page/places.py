"""Where the images, the decisions and the model of a table of labels are, if nobody says otherwise."""

from dataclasses import dataclass
from pathlib import Path

from deixis.core.errors import DataError
from deixis.core.records import read_json
from deixis.exports.rows import ALLOWED

LABELS, LOG, TABLE = "labels.parquet", "log.sqlite", "decisions.parquet"
RELABELLED = ("-rated", "-res")  # what the graph adds to a teacher's name where it works on its labels


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
    whole = labels.resolve()
    if len(whole.parents) > 3 and whole.parents[2].name == "labels":
        data, dataset = whole.parents[3], whole.parents[1].name
        if data.is_relative_to(Path.cwd()):
            data = data.relative_to(Path.cwd())  # as people write it
        usual = data / "prepared" / dataset / "images.parquet", data / "decisions" / dataset / LOG
        model = _trained(data, dataset, whole.parent.name)
    else:
        usual = labels.parent / "prepared" / "images.parquet", labels.parent / "decisions" / LOG
        model = _labeller(labels.parent)
    return Places(labels, images or usual[0], image_root, log or usual[1], model)


def _trained(data: Path, dataset: str, name: str) -> Path | None:
    """The teacher that the graph labelled with."""
    for ending in RELABELLED:
        name = name.removesuffix(ending)
    places = [data / kind / dataset / name for kind in ("teachers", "map_teachers")]
    return next((place for place in places if (place / "config.json").exists()), None)


def _labeller(folder: Path) -> Path | None:
    """The model that `deixis label` wrote a folder with."""
    summary = folder / "summary.json"
    stated = read_json(summary, made_by="deixis label") if summary.is_file() else None
    model = stated.get("model") if isinstance(stated, dict) else None
    return Path(model) if isinstance(model, str) and (Path(model) / "config.json").exists() else None
