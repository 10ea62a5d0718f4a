"""Labels of a few pairs; what cannot be labelled is refused with a code, and nothing sound is lost with it."""

from pathlib import Path
from typing import Any

import pandas as pd

from answering.predictor import Predictor
from commands.chunks import rows_about
from commands.pair_source import PairSource
from deixis.core.errors import DataError
from deixis.datasets.quarantine import Code, Quarantine
from deixis.imaging.decoding import ImageError, as_reached, open_image
from deixis.imaging.places import is_allowed

IMAGE_COLUMNS = ("image_id", "path", "width", "height")
Faults = dict[Any, tuple[Code, str]]  # image id -> what is wrong with its image


def label_chunk(
    predictor: Predictor, rows: pd.DataFrame, source: PairSource, *, any_domain: bool = False
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Labels of some rows of pairs.parquet, None where no row is sound; and what was refused of them.

    Args:
        rows: Indexed by their number in the file.
    """
    listed = rows_about(source.images, rows["image_id"].unique().tolist(), IMAGE_COLUMNS)
    faults: Faults = {
        image_id: ("E_IMG_MISSING", f"image {image_id} is not in {source.images.name}")
        for image_id in set(rows["image_id"]) - set(listed["image_id"])
    }
    faults |= path_faults(listed, source)
    try:
        labels = _answer(predictor, rows, listed, faults, source.image_root, any_domain)
    except DataError:  # decoding all images beforehand would double the work where all are sound
        damaged = decoding_faults(listed[~listed["image_id"].isin(list(faults))], source.image_root)
        if not damaged:
            raise
        faults |= damaged
        labels = _answer(predictor, rows, listed, faults, source.image_root, any_domain)
    return labels, _refused(rows, faults, source.pairs.name)


def _refused(rows: pd.DataFrame, faults: Faults, file: str) -> pd.DataFrame:
    """The quarantine of rows whose image has a fault, or whose phrase has no word."""
    refused = Quarantine()
    for line, image_id, text in rows[["image_id", "text"]].itertuples():
        if image_id in faults:
            refused.add(file, line, *faults[image_id])
        elif not _has_word(text):
            refused.add(file, line, "E_TEXT_EMPTY", repr(text))
    return refused.table()


def path_faults(images: pd.DataFrame, source: PairSource) -> Faults:
    """Images that are not there, or outside the folders of images, or of no size."""
    faults, folders = Faults(), source.image_folders
    for image_id, path, *size in images[list(IMAGE_COLUMNS)].itertuples(index=False):
        whole = source.image_root / path
        if not is_allowed(whole, folders):
            faults[image_id] = ("E_IMG_PATH", path)
        elif not as_reached(whole).is_file():
            faults[image_id] = ("E_IMG_MISSING", path)
        elif min(size) < 1:
            faults[image_id] = ("E_IMG_SIZE", f"{size[0]} x {size[1]}")
    return faults


def decoding_faults(images: pd.DataFrame, root: Path) -> Faults:
    """Images that do not open, or are of another size than the table says."""
    faults = Faults()
    for image_id, path, width, height in images[list(IMAGE_COLUMNS)].itertuples(index=False):
        try:
            size = open_image(root / path).size
        except ImageError as error:
            faults[image_id] = (error.code, f"{path}: {error.problem}")
            continue
        if size != (width, height):
            faults[image_id] = ("E_IMG_SIZE", f"{size} for {width}, {height}")
    return faults


def _answer(
    predictor: Predictor, rows: pd.DataFrame, images: pd.DataFrame, faults: Faults, root: Path, any_domain: bool
) -> pd.DataFrame | None:
    sound = rows[rows["text"].map(_has_word) & ~rows["image_id"].isin(list(faults))].reset_index(drop=True)
    if not len(sound):
        return None
    needed = images[images["image_id"].isin(sound["image_id"])].reset_index(drop=True)
    return predictor.answer_pairs(sound, needed, root, any_domain=any_domain)


def _has_word(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())
