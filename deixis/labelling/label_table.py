"""What every table of labels has: the columns of boxes.parquet, and those that say who answered."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from deixis.imaging.masks import RLE

SCHEMA_VERSION = 1
BOX_COLUMNS = (
    "sample_id", "image_id", "expression", "split", "box", "runner_up", "match_box", "score", "margin", "objectness",
    "experts", "accept", "reason",
)  # fmt: skip


def finish_labels(
    table: pd.DataFrame, masks: list[RLE | None] | None, quality: list[float] | None, card: Mapping[str, Any]
) -> pd.DataFrame:
    """Boxes with the segmenter's masks, where one was asked, and who answered: rows of labels.parquet."""
    source = "none" if masks is None else "segmenter"
    drawn: list[RLE | None] = [None] * len(table) if masks is None else masks
    quality = [math.nan] * len(table) if quality is None else quality
    if "own_mask" in table:  # a teacher that draws masks: its own, and beside it the segmenter's for its box
        own_masks = table["own_mask"].tolist()
        table = table.drop(columns="own_mask").assign(
            prompted_mask=drawn, mask_source=[source if mask is None else "teacher" for mask in own_masks]
        )
        drawn = [mask if mask is not None else prompted for mask, prompted in zip(own_masks, drawn, strict=True)]
    else:
        table = table.assign(mask_source=source)
    return table.assign(mask=drawn, mask_quality=quality, **provenance(card))


def provenance(card: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that say who answered, from a teacher's card: its name, its weights, its settings."""
    return {
        "teacher": card["teacher" if "teacher" in card else "map_teacher"],
        "checkpoint_sha256": card["sha256"],
        "config_sha256": hashlib.sha256(json.dumps(card["model"]).encode()).hexdigest(),
        "schema_version": SCHEMA_VERSION,
    }
