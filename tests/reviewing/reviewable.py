"""Labels to review, with their images, in a folder as `deixis label` writes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from deixis.core.records import write_table
from deixis.datasets.phrases import write_phrase
from deixis.datasets.scenes import draw_scene
from deixis.imaging.masks import encode_mask

HOSTILE = (
    '<img src=x onerror="window.broken=1"><script>window.broken=1</script> {{ 7*7 }} " onmouseover="window.broken=1'
)
REASONS = ("", "", "", "margin", "domain")


def write_reviewable(
    folder: Path, *, images: int = 4, hostile: Sequence[int] = (), without: Sequence[str] = (), seed: int = 0
) -> Path:
    """Write labels.parquet and what it needs; one label for each thing in a scene that has a name of its own.

    Args:
        hostile: Rows whose phrase would do harm where it is not taken as text.
        without: Columns to leave out.
    """
    rng = np.random.default_rng(seed)
    (folder / "prepared" / "images").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    listed = []
    for number in range(images):
        scene = draw_scene(rng)
        name = f"{number}.png"
        Image.fromarray(scene.pixels).save(folder / "prepared" / "images" / name)
        height, width = scene.pixels.shape[:2]
        listed.append({"image_id": 10 * number + 7, "path": name, "width": width, "height": height})
        named = [write_phrase(rng, scene.objects, at, "location") for at in range(len(scene.objects))]
        for at, phrase in enumerate(named):
            if phrase is not None:
                rows.append(_label(rng, scene, at, phrase, image_id=10 * number + 7, place=len(rows)))
    for row in hostile:
        rows[row]["expression"] = HOSTILE
    write_table(pd.DataFrame(rows).drop(columns=list(without)), folder / "labels.parquet")
    write_table(pd.DataFrame(listed), folder / "prepared" / "images.parquet")
    return folder / "labels.parquet"


def _label(rng: np.random.Generator, scene: Any, at: int, phrase: str, *, image_id: int, place: int) -> dict[str, Any]:
    thing, other = scene.objects[at], scene.objects[at - 1]
    reason = REASONS[place % len(REASONS)]
    return {
        "sample_id": f"own/{place}",
        "image_id": image_id,
        "expression": phrase,
        "split": "val" if place % 4 == 3 else "train",
        "box": [float(side) + shift for side, shift in zip(thing.box_xyxy, rng.normal(0, 2, 4), strict=True)],
        "runner_up": [float(side) for side in other.box_xyxy],
        "score": float(rng.normal()),
        "margin": float(rng.random()),
        "confidence": float(rng.random()),
        "agreement": float(rng.random()),
        "accept": reason == "",
        "reason": reason,
        "mask": encode_mask(thing.mask),
        "mask_source": "segmenter",
        "teacher": "dvin",
        "checkpoint_sha256": "c0ffee00" * 8,
        "config_sha256": "0" * 64,
    }
