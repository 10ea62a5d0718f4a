"""YOLO: text files, one per image; once with boxes (`boxes/`), once with outlines (`polygons/`).

Rows are the class, 0, and then centre, width and height, or the points of the outline, over the image's sides.
Trainers find a label file by the image's path, with `labels` for the last folder called `images` and `txt` for the
ending, so images that differ in nothing but their ending get names of their own. Phrases, scores and ids have no place
there: `rows.json` says what each row is. Of a mask with holes or several parts, the outline of the largest part
remains.
"""

import re
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from ruamel.yaml import YAML
from skimage.measure import find_contours

from deixis.core.errors import DataError
from deixis.exports.json_lists import JsonList
from deixis.exports.types import CATEGORY, ExportedImage, Label, LabelledImage, Options, mask_extent, mask_pixels

KINDS = ("boxes", "polygons")
DECIMALS = 7  # of a share: under a hundredth of a pixel in any image that is decoded
NOT_IN_FILE_NAMES = re.compile(r"[^\w.-]")


def write(images: Iterable[LabelledImage], folder: Path, options: Options) -> None:
    """Write both data sets. With an image root, its images are copied: trainers repair images in place."""
    names = ImageNames()
    splits: dict[str, set[str]] = {kind: set() for kind in KINDS}
    with ExitStack() as stack:
        rows = {}
        for kind in KINDS:
            (folder / kind).mkdir()
            rows[kind] = stack.enter_context(JsonList(folder / kind / "rows.json"))
        for labelled in images:
            name = names.of(labelled.image)
            for kind in KINDS:
                lines = [(label, row) for label in labelled.labels if (row := _row(kind, label, labelled.image))]
                if lines:
                    split = NOT_IN_FILE_NAMES.sub("_", _split_of([label for label, _ in lines]))
                    splits[kind].add(split)
                    _write_image(folder / kind, name, split, [row for _, row in lines])
                    if options.image_root is not None:
                        _copy(options.image_root / labelled.image.path, folder / kind / "images" / name)
                for number, (label, _) in enumerate(lines):
                    rows[kind].add({"image": name, "row": number} | _origin(label))
    for kind in KINDS:
        _write_description(folder / kind, splits[kind])


class ImageNames:
    """Paths of images that no two share but for their ending, whatever the case of their letters."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, image: ExportedImage) -> str:
        """The image's own path, or one with its ending and, if need be, a number before the ending."""
        path = PurePosixPath(image.path)
        stems = [path.with_suffix(""), path.with_name(path.name.replace(".", "_"))]
        number = 1
        while str(stems[0]).casefold() in self._taken:
            stems.pop(0)
            if not stems:
                number += 1
                stems.append(path.with_name(f"{path.stem}_{number}"))
        self._taken.add(str(stems[0]).casefold())
        return f"{stems[0]}{path.suffix}"


def outline(pixels: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "points 2"]:
    """x, y of the outline of the largest part, in pixels; at least three points. Something must be drawn.

    The outline goes through the middle between a pixel that is drawn and one that is not, so corners lose an eighth of
    a pixel, and no more.
    """
    left, top, right, bottom = mask_extent(pixels)
    contours = find_contours(np.pad(pixels[top:bottom, left:right], 1).astype(np.float32), 0.5)
    points = max(contours, key=_area)[:-1, ::-1]  # the last is the first
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return points[turns] - 0.5 + [left, top]  # the padding moved all by a pixel; a pixel's edge is half a pixel off


def _area(points: Float[np.ndarray, "points 2"]) -> float:
    y, x = points[:-1].T
    next_y, next_x = points[1:].T
    return abs(float((x * next_y - next_x * y).sum())) / 2


def _row(kind: str, label: Label, image: ExportedImage) -> str | None:
    if kind == "boxes":
        left, top, right, bottom = label.box_xyxy
        shares = np.array([[(left + right) / 2, (top + bottom) / 2], [right - left, bottom - top]])
    else:
        pixels = mask_pixels(label)
        if pixels is None:
            return None
        shares = outline(pixels)
    shares = (shares / [image.width, image.height]).ravel()
    return " ".join(["0", *(f"{share:.{DECIMALS}f}" for share in shares)])


def _split_of(labels: list[Label]) -> str:
    """Where an image is listed, with all its rows: not among those to train on if one of them is of another split."""
    return next((label.split for label in labels if label.split != "train"), "train")


def label_path(name: str) -> PurePosixPath:
    """Where trainers look for the labels of `images/<name>`: beside the last of its folders that is called images."""
    above, _, below = f"/images/{name}".rpartition("/images/")
    return PurePosixPath(f"{above}/labels/{below}"[1:]).with_suffix(".txt")


def _write_image(folder: Path, name: str, split: str, rows: list[str]) -> None:
    path = folder / label_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
    with (folder / f"{split}.txt").open("a", encoding="utf-8") as listed:
        listed.write(f"./images/{name}\n")


def _copy(image: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(image, place)
    except FileNotFoundError:
        raise DataError(
            f"{image}: no such image. Name the folder that images.parquet counts from: --image-root"
        ) from None


def _origin(label: Label) -> dict[str, Any]:
    return {
        "expressions": list(label.expressions),
        "sample_ids": list(label.sample_ids),
        "score": label.score,
        "teacher": label.model_version,
    }


def _write_description(folder: Path, splits: set[str]) -> None:
    """`data.yaml`. It must name a validation list: without labels of that split, the training list is named again."""
    train = "train" if "train" in splits else min(splits, default="train")
    lists = {"train": f"{train}.txt", "val": "val.txt" if "val" in splits else f"{train}.txt"}
    lists |= {split: f"{split}.txt" for split in sorted(splits - {"train", "val"})}
    with (folder / "data.yaml").open("w", encoding="utf-8") as stream:
        YAML().dump(lists | {"names": {0: CATEGORY}}, stream)
