"""FiftyOne: `metadata.json` and `samples.json`, which `fiftyone.Dataset.from_dir` reads as a `FiftyOneDataset`.

The form is the one without a version: the versioned one repeats records of FiftyOne's database and changes with them,
and this one is still read. Boxes are shares of the image. A mask of FiftyOne's fills its detection's box, so a label
is two detections, one in `boxes` and one in `masks`, whose box is the mask's own extent.
Source: `LegacyFiftyOneDatasetImporter` and `ArrayField` of fiftyone 1.22, `render_instance_mask` of its eta.
"""

import base64
import io
import math
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from deixis.core.records import write_json
from deixis.exports.json_lists import JsonList
from deixis.exports.types import CATEGORY, ExportedImage, Label, LabelledImage, Options, mask_extent, mask_pixels


def write(images: Iterable[LabelledImage], folder: Path, options: Options) -> None:
    """Write both files. Without an image root, file paths are relative and wait for `rel_dir` of the import."""
    write_json({"media_type": "image", "info": {"made_by": "deixis"}}, folder / "metadata.json")
    root = None if options.image_root is None else options.image_root.resolve()
    with JsonList(folder / "samples.json", opening='{"samples": ', closing="}\n") as samples:
        for labelled in images:
            image = labelled.image
            boxes = [_detection(label, _shares(label.box_xyxy, image)) for label in labelled.labels]
            masks = [detection for label in labelled.labels if (detection := _mask_detection(label, image))]
            samples.add(
                {
                    "filepath": image.path if root is None else str(root / image.path),
                    "tags": sorted({label.split for label in labelled.labels}),
                    "image_id": image.image_id,
                    "boxes": {"_cls": "Detections", "detections": boxes},
                    "masks": {"_cls": "Detections", "detections": masks},
                }
            )


def _detection(label: Label, shares: list[float]) -> dict[str, Any]:
    return {
        "_cls": "Detection",
        "label": CATEGORY,
        "bounding_box": shares,
        "confidence": label.score,
        "expressions": list(label.expressions),
        "sample_ids": list(label.sample_ids),
        "teacher": label.model_version,
    }


def _mask_detection(label: Label, image: ExportedImage) -> dict[str, Any] | None:
    pixels = mask_pixels(label)
    if pixels is None:
        return None
    left, top, right, bottom = mask_extent(pixels)
    crop = pixels[top:bottom, left:right]
    return _detection(label, pixel_shares((left, top, right, bottom), image)) | {"mask": _packed(crop)}


def _shares(box_xyxy: tuple[float, float, float, float], image: ExportedImage) -> list[float]:
    left, top, right, bottom = box_xyxy
    width, height = image.width, image.height
    return [left / width, top / height, (right - left) / width, (bottom - top) / height]


def pixel_shares(extent: tuple[int, int, int, int], image: ExportedImage) -> list[float]:
    """x, y, width, height that FiftyOne turns into these very pixels again.

    It multiplies corners by the image's sides and cuts the fraction off, so that 100 * (29 / 100) becomes 28; the
    shares are the next larger numbers for which that does not happen.
    """
    left, top, right, bottom = extent
    x, width = _axis(left, right, image.width)
    y, height = _axis(top, bottom, image.height)
    return [x, y, width, height]


def _axis(start: int, stop: int, side: int) -> tuple[float, float]:
    place, length = start / side, (stop - start) / side
    while int(side * place) < start:
        place = math.nextafter(place, math.inf)
    while int(side * (place + length)) < stop:
        length = math.nextafter(length, math.inf)
    return place, length


def _packed(crop: Bool[np.ndarray, "height width"]) -> str:
    """An array as FiftyOne stores it: numpy's own format, deflated, base64."""
    with io.BytesIO() as stream:
        np.save(stream, crop, allow_pickle=False)
        return base64.b64encode(zlib.compress(stream.getvalue())).decode("ascii")
