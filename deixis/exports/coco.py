"""COCO: `annotations.json` for whoever trains, `results.json` for whoever evaluates.

Boxes are x, y, width, height to a hundredth of a pixel; `area` is that of the mask, else of the box; ids count from 1,
since 0 reads as "no match" in evaluators. Phrase and sample_id stand in `attributes`, too, which is all that CVAT hands
back of foreign keys. Sources: the format page of COCO; cocodataset/cocoapi, issue 658; cvat-ai/cvat, issue 1782.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deixis.exports.json_lists import JsonList, dumps
from deixis.exports.types import CATEGORY, Label, LabelledImage, Options
from deixis.imaging.masks import area

INFO = {"description": "labels of deixis: a teacher's, but where a person corrected them", "version": "1"}
CATEGORIES = [{"id": 1, "name": CATEGORY, "supercategory": CATEGORY}]


def write(images: Iterable[LabelledImage], folder: Path, options: Options) -> None:
    """Write both files. Images keep their ids where these are whole numbers; else they are numbered from 1."""
    waiting = folder / "annotations.part"  # annotations follow all images in the file, and come with them
    whole = folder / "annotations.json"
    number = 0
    head = f'{{\n"info": {dumps(INFO)},\n"licenses": [],\n"categories": {dumps(CATEGORIES)},\n"images": '
    with (
        JsonList(whole, opening=head, closing=',\n"annotations": ') as image_list,
        JsonList(waiting, closing="\n}\n") as annotations,
        JsonList(folder / "results.json") as results,
    ):
        for labelled in images:
            image = labelled.image
            image_id = image.image_id if isinstance(image.image_id, int) else image.number + 1
            size = {"width": image.width, "height": image.height}
            image_list.add({"id": image_id, "file_name": image.path} | size)
            for label in labelled.labels:
                number += 1
                shape = _shape(label)
                origin = _origin(label, per_object=options.per_object)
                identity = {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0}
                annotations.add(identity | shape | origin | {"attributes": _attributes(label)})
                results.add({"image_id": image_id, "category_id": 1} | shape | origin)
    with waiting.open("rb") as rest, whole.open("ab") as stream:
        shutil.copyfileobj(rest, stream)
    waiting.unlink()


def _shape(label: Label) -> dict[str, Any]:
    left, top, right, bottom = label.box_xyxy
    width, height = right - left, bottom - top
    return {
        "bbox": [round(side, 2) for side in (left, top, width, height)],
        "area": area(label.mask) if label.mask else round(width * height, 2),
        "segmentation": {"size": list(label.mask["size"]), "counts": label.mask["counts"]} if label.mask else [],
    }


def _origin(label: Label, *, per_object: bool) -> dict[str, Any]:
    """The keys that COCO does not know, and its `score`."""
    origin: dict[str, Any] = {"score": label.score, "teacher": label.model_version}
    if per_object:
        return {"expressions": list(label.expressions), "sample_ids": list(label.sample_ids)} | origin
    return {"expression": label.expressions[0], "sample_id": label.sample_ids[0]} | origin


def _attributes(label: Label) -> dict[str, str]:
    """What finds the label again; a line for each phrase, where it stands for an object."""
    return {"expression": "\n".join(label.expressions), "sample_id": "\n".join(label.sample_ids)}
