"""Tiny folders in the exact layout of the published referring sets, whose images are scenes of the embedded world.

`fabricate(folder, "refcoco_unc", images=12, seed=0)` writes what `data/raw/refcoco_unc` would hold: `instances.json`,
`refs(unc).p` and `images/`. Ids, names, splits, mask codes and quirks are the published ones (lichengunc/refer).
"""

import json
import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.measure import find_contours

from deixis.datasets.phrases import Habit, write_phrase
from deixis.datasets.scenes import ANGULAR, CATEGORIES, ROUND, Scene, draw_scene
from deixis.imaging.masks import encode_mask

COCO_IDS = (1, 3, 13, 17, 27, 44, 62, 90)  # with gaps, as COCO's class numbers have
TEST_CATEGORIES = {"testA": ROUND, "testB": ANGULAR}


@dataclass(frozen=True)
class Kind:
    """What tells one published set from another."""

    split_by: str
    splits: tuple[str, ...]  # evaluation splits
    habit: Habit
    is_coco: bool = True
    shares_images: bool = False  # google split by object


KINDS = {
    "refcoco_unc": Kind("unc", ("val", "testA", "testB"), "location"),
    "refcoco_plus_unc": Kind("unc", ("val", "testA", "testB"), "appearance"),
    "refcocog_google": Kind("google", ("val",), "relation", shares_images=True),
    "refcocog_umd": Kind("umd", ("val", "test"), "relation"),
    "referit_berkeley": Kind("berkeley", ("val", "test"), "location", is_coco=False),
}


def fabricate(folder: Path, kind: str, *, images: int, seed: int, names: str = "2014") -> None:
    """Write a folder with `images` images, half of them for training, the rest over the evaluation splits in turn.

    Args:
        folder: Made if it is not there.
        kind: One of KINDS.
        images: At least twice the number of evaluation splits.
        seed: Of the scenes and phrases.
        names: Release whose file names the images have, "2014" or "2017"; instances.json always says 2014's.
    """
    what = KINDS[kind]
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    instances: dict[str, list[Any]] = {"images": [], "annotations": []}
    refs: list[dict[str, Any]] = []
    for number in range(images):
        split = "train" if number % 2 == 0 else what.splits[number // 2 % len(what.splits)]
        scene, targets = _scene(rng, what, split)
        image_id = 98_304 + 1_371 * number if what.is_coco else 25 + number
        stated = f"COCO_train2014_{image_id:012d}.jpg" if what.is_coco else f"{image_id}.jpg"
        stored = f"{image_id:012d}.jpg" if what.is_coco and names == "2017" else stated
        Image.fromarray(scene.pixels).save(folder / "images" / stored, quality=92)
        height, width = scene.pixels.shape[:2]
        licence = {"license": 1 + number % 2} if what.is_coco else {}
        instances["images"].append({"id": image_id, "file_name": stated, "width": width, "height": height} | licence)
        rows = [_annotation(scene, index, image_id, what) for index in range(len(scene.objects))]
        instances["annotations"] += rows
        for place, (index, phrase) in enumerate(targets):
            other = what.shares_images and split != "train" and place > 0
            refs.append(_ref(rows[index], stated, "train" if other else split, phrase, len(refs)))
    _write(folder, instances, refs, what)


def _scene(rng: np.random.Generator, what: Kind, split: str) -> tuple[Scene, list[tuple[int, str]]]:
    """A scene in which something of the split's categories can be told apart, and a phrase for each such object."""
    allowed = TEST_CATEGORIES.get(split, CATEGORIES)
    while True:
        scene = draw_scene(rng)
        things = []
        for index, thing in enumerate(scene.objects):
            phrase = write_phrase(rng, scene.objects, index, what.habit) if thing.category in allowed else None
            if phrase is not None:
                things.append((index, phrase))
        if len(things) >= 2:
            return scene, things[:3]


def _annotation(scene: Scene, index: int, image_id: int, what: Kind) -> dict[str, Any]:
    thing = scene.objects[index]
    left, top, right, bottom = thing.box_xyxy
    kind = CATEGORIES.index(thing.category)
    row = {"image_id": image_id, "area": int(thing.mask.sum()), "bbox": [left, top, right - left, bottom - top]}
    if not what.is_coco:
        name = f"{image_id}_{index + 1}"
        whole = {"id": name, "mask_name": f"{name}.mat", "category_id": kind + 1, "segmentation": _planes(thing.mask)}
        return row | whole | {"bbox": [float(value) for value in row["bbox"]]}
    polygons = _polygons(thing.mask)
    corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
    low, high = corners.min(0), corners.max(0)
    box = [round(float(value), 2) for value in (*low, *(high - low))]
    return row | {
        "id": image_id * 10 + index, "category_id": COCO_IDS[kind], "segmentation": polygons, "bbox": box, "iscrowd": 0,
    }  # fmt: skip


def _polygons(mask: np.ndarray) -> list[list[float]]:
    """Outlines, x and y in turn, in pixels from the corner of the image."""
    lines = find_contours(np.pad(mask, 1).astype(float), 0.5)
    outlines = [np.round(line[:-1, ::-1] - 0.5, 2).ravel().tolist() for line in lines if len(line) > 3]
    return sorted(outlines, key=len, reverse=True)


def _planes(mask: np.ndarray) -> list[dict[str, Any]]:
    """Run-length codes of the left and the right half, which overlap by a column: the union is the mask."""
    columns = np.flatnonzero(mask.any(0))
    middle = int(columns[len(columns) // 2])
    left, right = mask.copy(), mask.copy()
    left[:, middle + 1 :] = False
    right[:, :middle] = False
    return [encode_mask(part) for part in (left, right)]


def _ref(annotation: dict[str, Any], file_name: str, split: str, phrase: str, ref_id: int) -> dict[str, Any]:
    """A ref with its phrase as typed, as cleaned and in words, and a second, shouted one."""
    first = 2 * ref_id
    typed = [f"{phrase} ", f"THE {phrase.upper()}!"]
    texts = [phrase, f"the {phrase}"]
    return {
        "sent_ids": [first, first + 1],
        "file_name": f"{file_name[:-4]}_{ref_id}.jpg",  # no file: the pickles' own quirk
        "ann_id": annotation["id"],
        "ref_id": ref_id,
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "split": split,
        "sentences": [
            {"tokens": text.split(), "raw": raw, "sent_id": first + place, "sent": text}
            for place, (raw, text) in enumerate(zip(typed, texts, strict=True))
        ],
    }


def _write(folder: Path, instances: dict[str, list[Any]], refs: list[dict[str, Any]], what: Kind) -> None:
    if what.is_coco:
        numbers: Sequence[int] = COCO_IDS
        licences = ["Attribution-NonCommercial-ShareAlike License", "Attribution License"]
        head = {"licenses": [{"id": number + 1, "name": name, "url": ""} for number, name in enumerate(licences)]}
    else:
        numbers, head = range(1, len(CATEGORIES) + 1), {}
        refs[0]["sentences"][0]["raw"] += "™"  # the trailing signs of ReferItGame's texts
    head["categories"] = [
        {"id": number, "name": name, "supercategory": "shape"} for number, name in zip(numbers, CATEGORIES, strict=True)
    ]
    (folder / "instances.json").write_text(json.dumps({"info": {}} | head | instances), encoding="utf-8")
    (folder / f"refs({what.split_by}).p").write_bytes(python2_pickle(refs))


def python2_pickle(value: Any) -> bytes:
    """Pickle as Python 2 did: text as byte strings, here UTF-8, without saying so."""
    stream = BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


class _Python2Pickler(pickle._Pickler):
    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str) -> None:
        encoded = text.encode("utf-8")
        self.write(pickle.BINSTRING + struct.pack("<i", len(encoded)) + encoded)
        self.memoize(text)

    dispatch[str] = save_text
