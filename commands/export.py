"""`deixis export`: labels for labelling tools and trainers."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from deixis.core.errors import ConfigError, DataError
from deixis.core.foreign import first_words
from deixis.core.progress import say, track
from deixis.core.registry import resolve
from deixis.exports import TARGETS
from deixis.exports.reading import LabelReader
from deixis.exports.types import Options

Target = Literal["coco", "label-studio", "cvat", "fiftyone", "yolo", "parquet"]


def export(
    labels: Path,
    *,
    to: Target,
    images: Path,
    out: Path,
    per: Literal["expression", "object"] = "expression",
    pairs: Path | None = None,
    image_root: Path | None = None,
    min_score: float | None = None,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
) -> None:
    """Write labels in the form that a labelling tool or a trainer reads.

    Args:
        labels: labels.parquet.
        to: The tool or format.
        images: images.parquet of the same images.
        out: A new folder; it appears whole or not at all.
        per: One label per phrase, or one per object with all its phrases: the best-scored accepted one. Needs --pairs.
        pairs: pairs.parquet, whose ref_id says which phrases name one object.
        image_root: The folder of images; YOLO then gets copies of them, FiftyOne their full paths. Where images lie
            beside it (turned copies, images out of Parquet), names start further up, and the command says where.
        min_score: Leave out labels with a lower score; the scale is the teacher's.
        everything: Labels that were not accepted, too.
    """
    if (per == "object") != (pairs is not None):
        raise ConfigError(
            "--per object needs --pairs, and --pairs needs --per object: which phrases name one object is in "
            "pairs.parquet. Add --pairs data/prepared/<dataset>/pairs.parquet, or leave both out"
        )
    reader = LabelReader(labels, images, image_root=image_root, pairs=pairs, everything=everything, min_score=min_score)
    root = reader.names_root
    options = Options(image_root=None if image_root is None else root, per_object=per == "object")
    write = resolve(TARGETS, to, role="export target")
    labelled_images = track(reader.images(), "exporting", total=reader.image_count)
    write_folder(out, lambda folder: write(labelled_images, folder, options))
    say(f"{out}: {reader.tally}" + ("" if root in (None, image_root) else f"; images are named from {root}"))


def write_folder(out: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary folder beside `out`, then move it into place in one step.

    Raises:
        ConfigError: If `out` is there already and is not an empty folder.
        DataError: If a file cannot be written: no room, or a name that no file can have.
    """
    try:
        if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            raise ConfigError(f"{out}: is there already. Allowed: a new folder. Name another --out, or delete it first")
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise ConfigError(f"{out}: no folder can be made there: {error.strerror}. Name another --out") from None
    try:
        write(temporary)
        temporary.chmod(0o755)
        os.replace(temporary, out)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written: {first_words(error)}. Make room, or name another --out; of labels, image paths "
            "and splits become names of files, so shorten those"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
