"""Label Studio: images as tasks, labels as predictions, and the labelling configuration that shows them.

`tasks.json` is imported into a project with `labeling_config.xml`; images are asked for under their relative paths
through local files storage. Boxes are percent of the image. Box and mask of a label are two regions, each with the
phrase. A task's score is that of its least sure label, so that sorting by it brings the doubtful images first; the
teacher's own score is in `meta`. A region's `meta` does not survive all that people do, so a task's `data` names the
sample_ids by region, too. Source: HumanSignal/label-studio, issue 5138.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deixis.exports.brush_rle import encode_brush
from deixis.exports.json_lists import JsonList
from deixis.exports.types import CATEGORY, ExportedImage, Label, LabelledImage, Options, mask_pixels

IMAGE_ADDRESS = "/data/local-files/?d="  # Label Studio's address of files below its document root


def write(images: Iterable[LabelledImage], folder: Path, options: Options) -> None:
    """Write `tasks.json` and `labeling_config.xml`."""
    (folder / "labeling_config.xml").write_text(_configuration(), encoding="utf-8")
    with JsonList(folder / "tasks.json") as tasks:
        for labelled in images:
            tasks.add(_task(labelled.image, labelled.labels))


def share_of(score: float) -> float:
    """Any score as one between 0 and 1, in the same order; 0 becomes a half. Label Studio refuses others."""
    return (1 + score / (1 + abs(score))) / 2


def _configuration() -> str:
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image", zoom="true")
    boxes = ET.SubElement(view, "RectangleLabels", name="box", toName="image")
    masks = ET.SubElement(view, "BrushLabels", name="mask", toName="image")
    for kind in (boxes, masks):
        ET.SubElement(kind, "Label", value=CATEGORY)
    ET.SubElement(view, "TextArea", name="expression", toName="image", perRegion="true", editable="true")
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def _task(image: ExportedImage, labels: tuple[Label, ...]) -> dict[str, Any]:
    regions = [region for label in labels for region in _regions(image, label)]
    prediction = {
        "model_version": labels[0].model_version,
        "score": min(share_of(label.score) for label in labels),
        "result": regions,
    }
    about = {
        "image": IMAGE_ADDRESS + quote(image.path),
        "image_id": image.image_id,
        "sample_ids": {f"{label.sample_ids[0]}/box": list(label.sample_ids) for label in labels},
    }
    return {"data": about, "predictions": [prediction]}


def _regions(image: ExportedImage, label: Label) -> list[dict[str, Any]]:
    left, top, right, bottom = label.box_xyxy
    box = {
        "x": 100 * left / image.width,
        "y": 100 * top / image.height,
        "width": 100 * (right - left) / image.width,
        "height": 100 * (bottom - top) / image.height,
        "rotation": 0,
    }
    regions = _with_text(image, label, name="box", kind="rectanglelabels", value=box)
    pixels = mask_pixels(label)
    if pixels is not None:
        brush = {"format": "rle", "rle": encode_brush(pixels)}
        regions += _with_text(image, label, name="mask", kind="brushlabels", value=brush)
    return regions


def _with_text(
    image: ExportedImage, label: Label, *, name: str, kind: str, value: dict[str, Any]
) -> list[dict[str, Any]]:
    """A region, and its text: the same id, geometry and all."""
    shared = {
        "id": f"{label.sample_ids[0]}/{name}",
        "to_name": "image",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "score": share_of(label.score),
        "meta": {"score": label.score, "sample_ids": list(label.sample_ids), "teacher": label.model_version},
    }
    texts = list(label.expressions)
    return [
        shared | {"from_name": name, "type": kind, "value": value | {kind: [CATEGORY]}},
        shared | {"from_name": "expression", "type": "textarea", "value": value | {"text": texts}},
    ]
