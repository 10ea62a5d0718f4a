"""Labels that are hard to carry over, as `segment_boxes` writes them, and what must come back."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from deixis.exports.reading import LabelReader
from deixis.exports.types import Options
from deixis.imaging.masks import encode_mask

WIDTH, HEIGHT = 90, 60
HARD_TEXT = '=SUM(A1) Übergröße "left" <b>dog</b> & co\nnäxt to 汽车'
SIZES = {7: (WIDTH, HEIGHT), 8: (40, 100), 9: (WIDTH, HEIGHT)}
PATHS = {7: "a/red & blue #1.jpg", 8: "a/red & blue #1.png", 9: "b/plain.jpg"}


def l_shape(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Reaches the right and the bottom edge."""
    pixels = np.zeros((height, width), bool)
    pixels[20:, width - 40 : width - 25] = True
    pixels[height - 15 :, width - 40 :] = True
    return pixels


def ring_and_part() -> np.ndarray:
    """One part with a hole, and a small one beside it."""
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[5:35, 6:40] = True
    pixels[15:20, 14:20] = False
    pixels[45:50, 50:53] = True
    return pixels


def row(sample_id: str, image_id: int, box: list[float] | None, mask: np.ndarray | None, **changes: Any) -> Any:
    return {
        "sample_id": sample_id,
        "image_id": image_id,
        "expression": f"phrase of {sample_id}",
        "split": "train",
        "box": box,
        "score": 1.5,
        "margin": 0.25,
        "accept": True,
        "reason": "",
        "mask": None if mask is None else encode_mask(mask),
        "mask_source": "segmenter",
        "teacher": "dvin",
        "checkpoint_sha256": "c0ffee00" * 8,
        "config_sha256": "0" * 64,
        "schema_version": 1,
    } | changes


def hard_rows() -> list[dict[str, Any]]:
    """Three images: an L on the edges with a hard text, a mask with a hole and two parts, a box without a mask."""
    return [
        row("s/1", 7, [50.123, 20.0, 90.0, 60.0], l_shape(), expression=HARD_TEXT, score=9.25),
        row("s/2", 7, [6.0, 5.0, 53.337, 50.0], ring_and_part(), score=-0.5),
        row("s/3", 8, [-3.5, 1.25, 20.0, 99.875], None, split="val"),
        row("s/4", 9, [1.0, 2.0, 3.0, 4.0], None, accept=False, reason="margin"),
    ]


def write_tables(folder: Path, rows: list[dict[str, Any]]) -> tuple[Path, Path]:
    """labels.parquet and images.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(folder / "labels.parquet", index=False)
    images = [
        {"image_id": i, "path": PATHS[i], "sha256": f"{i:064d}", "width": w, "height": h, "licence": "CC0-1.0"}
        for i, (w, h) in SIZES.items()
    ]
    pd.DataFrame(images).to_parquet(folder / "images.parquet", index=False)
    return folder / "labels.parquet", folder / "images.parquet"


def write_images(root: Path) -> Path:
    for image_id, size in SIZES.items():
        (root / PATHS[image_id]).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (image_id, 90, 40)).save(root / PATHS[image_id])
    return root


def exported(writer: Any, folder: Path, rows: list[dict[str, Any]], *, image_root: Path | None = None) -> Path:
    """What a writer makes of some rows."""
    reader = LabelReader(*write_tables(folder / "tables", rows))
    out = folder / "out"
    out.mkdir()
    writer(reader.images(), out, Options(image_root=image_root, per_object=False))
    return out


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()
