"""Scenes and phrases to disk, in RefCOCO's own format, one process per core."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.progress import track
from deixis.datasets.phrases import Habit, caption, write_phrase
from deixis.datasets.refer_files import write_refer_folder
from deixis.datasets.scenes import ANGULAR, CATEGORIES, ROUND, Scene, draw_scene
from deixis.imaging.masks import encode_mask

SPLIT_BY = "unc"
WORLDS = {"pretraining": 1, "scenes": 2, "scenes_plus": 3, "scenes_g": 4}  # image ids start at world * 1,000,000
TARGET_CATEGORIES = {"train": CATEGORIES, "val": CATEGORIES, "testA": ROUND, "testB": ANGULAR}


@dataclass(frozen=True, config=STRICT)
class ScenesConfig:
    """One referring flavour of the embedded world."""

    habit: Habit
    images: dict[str, int]  # split -> number of scenes
    objects_per_image: int = 2  # referred objects
    phrases_per_object: int = 2  # at most; repeats are dropped


@dataclass(frozen=True, config=STRICT)
class PretrainingConfig:
    """The detection split: what COCO, SA-1B and web pairs are to the papers."""

    images: int
    captions_per_image: int = 3


def write_referring(folder: Path, *, flavour: str, config: ScenesConfig, seed: int) -> None:
    """Write one flavour with its refs."""
    jobs = [(split, index) for split, count in config.images.items() for index in range(count)]
    draw = partial(_referring_scene, folder / "images", flavour, config, seed)
    rows = _run(draw, list(enumerate(jobs)), f"drawing {flavour}")
    refs = [ref for row in rows for ref in row["refs"]]
    sentence_ids = iter(range(1, 1 + sum(len(ref["sentences"]) for ref in refs)))
    for ref_id, ref in enumerate(refs, 1):
        ref["ref_id"] = ref_id
        for sentence in ref["sentences"]:
            sentence["sent_id"] = next(sentence_ids)
        ref["sent_ids"] = [sentence["sent_id"] for sentence in ref["sentences"]]
    write_refer_folder(folder, instances=_instances(rows), refs=refs, split_by=SPLIT_BY)


def write_pretraining(folder: Path, *, config: PretrainingConfig, seed: int) -> None:
    """Write scenes with captions (`captions.json`, COCO's format) and no refs."""
    draw = partial(_captioned_scene, folder / "images", config, seed)
    rows = _run(draw, list(range(config.images)), "drawing pretraining")
    write_refer_folder(folder, instances=_instances(rows), refs=None, split_by=SPLIT_BY)
    captions = [{"image_id": row["image"]["id"], "caption": text} for row in rows for text in row["captions"]]
    (folder / "captions.json").write_text(json.dumps({"annotations": captions}), encoding="utf-8")


def _run(draw: Any, jobs: Sequence[Any], what: str) -> list[dict[str, Any]]:
    # Spawned, not forked: a fork of a process whose libraries hold threads may crash.
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        return list(track(pool.map(draw, jobs, chunksize=16), what, total=len(jobs)))


def _referring_scene(
    images: Path, flavour: str, config: ScenesConfig, seed: int, job: tuple[int, tuple[str, int]]
) -> dict[str, Any]:
    position, (split, _) = job
    rng = np.random.default_rng([seed, WORLDS[flavour], position])
    while True:  # a scene in which nothing of the wanted categories can be singled out is drawn again
        scene = draw_scene(rng)
        targets = _targets(rng, scene, split, config)
        if targets:
            break
    row = _save(images, scene, WORLDS[flavour] * 1_000_000 + position)
    row["refs"] = [
        {
            "ann_id": row["annotations"][index]["id"],
            "image_id": row["image"]["id"],
            "category_id": row["annotations"][index]["category_id"],
            "file_name": row["image"]["file_name"],
            "split": split,
            "sentences": [{"raw": text, "sent": text, "tokens": text.split()} for text in phrases],
        }
        for index, phrases in targets
    ]
    return row


def _targets(rng: np.random.Generator, scene: Scene, split: str, config: ScenesConfig) -> list[tuple[int, list[str]]]:
    """Objects to refer to, repeated categories first, and what to call each."""
    categories = [thing.category for thing in scene.objects]
    eligible = [i for i in rng.permutation(len(categories)) if categories[i] in TARGET_CATEGORIES[split]]
    eligible.sort(key=lambda index: categories.count(categories[index]) == 1 and rng.random() < 0.8)
    targets = []
    for index in eligible:
        tries = [write_phrase(rng, scene.objects, int(index), config.habit) for _ in range(config.phrases_per_object)]
        phrases = list(dict.fromkeys(text for text in tries if text is not None))
        if phrases:
            targets.append((int(index), phrases))
        if len(targets) == config.objects_per_image:
            break
    return targets


def _captioned_scene(images: Path, config: PretrainingConfig, seed: int, position: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, WORLDS["pretraining"], position])
    scene = draw_scene(rng)
    row = _save(images, scene, WORLDS["pretraining"] * 1_000_000 + position)
    row["captions"] = [caption(rng, scene.objects) for _ in range(config.captions_per_image)]
    return row


def _save(images: Path, scene: Scene, image_id: int) -> dict[str, Any]:
    name = f"{image_id:012d}.jpg"
    Image.fromarray(scene.pixels).save(images / name, quality=92)
    height, width = scene.pixels.shape[:2]
    annotations = []
    for index, thing in enumerate(scene.objects):
        left, top, right, bottom = thing.box_xyxy
        annotations.append(
            {
                "id": image_id * 10 + index,
                "image_id": image_id,
                "category_id": CATEGORIES.index(thing.category) + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": int(thing.mask.sum()),
                "segmentation": encode_mask(thing.mask),
                "iscrowd": 0,
            }
        )
    image = {"id": image_id, "file_name": name, "width": width, "height": height, "license": 1}
    return {"image": image, "annotations": annotations}


def _instances(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "info": {"description": "deixis embedded scenes"},
        "licenses": [{"id": 1, "name": "CC0-1.0"}],
        "images": [row["image"] for row in rows],
        "annotations": [annotation for row in rows for annotation in row["annotations"]],
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(CATEGORIES)],
    }
