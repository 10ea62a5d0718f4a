"""Labels from a teacher's response maps: what each map says, and which of its masks becomes the label."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.batches.features import FeatureStore
from deixis.batches.map_data import MapReader
from deixis.batches.samples import unpack_bits
from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.core.progress import track
from deixis.core.runtime import autocast
from deixis.imaging.decoding import open_image
from deixis.imaging.letterbox import Letterbox
from deixis.imaging.masks import decode_mask, encode_mask
from deixis.labelling.label_table import provenance
from deixis.labelling.map_refinement import refine
from deixis.labelling.response_maps import (
    Box,
    box_holding,
    component_boxes,
    margin_of,
    mask_of,
    most_responsive,
    peak_of,
    upsample,
)
from deixis.language.location_words import beside_places
from deixis.language.tokens import knows_texts
from deixis.roles import MapTeacher
from deixis.types import MapBatch
from models.image_text.judges import ImageText
from models.map_blocks.calibration import masked_cosines, select_maps

IMAGES_PER_BATCH = 16


@dataclass(frozen=True, config=STRICT)
class MapLabelParams:
    """What of a response map becomes the label; never by looking at truth."""

    # map: above zero; walk: a random walk from its most confident places; segmenter: prompted by the peak; proposal:
    # the mask proposal with the highest response inside
    mask: Literal["map", "walk", "segmenter", "proposal"] = "segmenter"
    select: Literal["train", "all", "none"] = "none"  # where phrases of one object share the best of their maps (PRMS)
    min_margin: float = 0.0  # of the peak over the highest place elsewhere
    prompted: bool = True  # also what the segmenter draws at the peak, where the mask is another

    def __post_init__(self) -> None:
        if self.mask == "segmenter" and not self.prompted:
            raise ConfigError(
                "map_labels.prompted is false, and map_labels.mask is segmenter, which is that mask. Allowed: true, or "
                "another mask. Fix params.yaml, then run: dvc repro"
            )


def read_maps(
    model: MapTeacher,
    reader: MapReader,
    table: pd.DataFrame,
    *,
    paths: Mapping[Any, Path],
    rules: MapLabelParams,
    judge: ImageText | None = None,
    proposals: FeatureStore | None = None,
) -> pd.DataFrame:
    """What the map of each row of `table`, sorted by image, says; refused where no word is known."""
    answers, walks = [], rules.mask == "walk"
    masks: dict[Any, list[np.ndarray]] = {}
    for rows, squares in answered(model, reader, table, judge, rules):
        for row, square in zip(rows, squares, strict=True):
            image_id = reader.image_ids[row]
            frame = reader.letterbox(image_id)
            if proposals is not None and image_id not in masks:
                masks = {image_id: proposed_masks(proposals, image_id, frame)}  # of one image at a time
            answers.append(read_map(square, frame, paths[image_id], walks=walks, proposals=masks.get(image_id)))
    labels = table[["sample_id", "image_id", "expression", "split"]].join(pd.DataFrame(answers))
    known = knows_texts(beside_places(table["text"]), model.reading.vocabulary)
    return labels.assign(reason=labels["reason"].where(known, "words"))


def answered(
    model: MapTeacher, reader: MapReader, table: pd.DataFrame, judge: ImageText | None, rules: MapLabelParams
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Rows and their maps over the letterboxed square, some images at a time."""
    batches = list(whole_images(reader.image_ids, IMAGES_PER_BATCH))
    for rows in track(batches, "labelling", total=len(batches)):
        batch = reader.batch(rows)
        with torch.no_grad(), autocast(batch.squares.device):
            maps = model.respond(batch).scores.float()
        if judge is not None:
            shares = (table["split"].iloc[rows] == "train").to_numpy() | (rules.select == "all")
            maps = share_best(maps, batch, judge, torch.from_numpy(shares).to(maps.device))
        side = batch.squares.shape[-1]
        yield rows, upsample(maps, height=side, width=side).cpu().numpy()


@torch.no_grad()
def share_best(
    maps: Float[Tensor, "phrases h w"], batch: MapBatch, judge: ImageText, shares: Tensor
) -> Float[Tensor, "phrases h w"]:
    """PRMS: where it `shares`, a phrase takes the map that the judge knows best of all phrases about its object."""
    cosines = masked_cosines(judge, maps, batch)
    itself = torch.arange(len(maps), device=maps.device)
    return maps[torch.where(shares, select_maps(cosines, batch.group_of), itself)]


def whole_images(image_ids: Sequence[int], images: int) -> Iterator[list[int]]:
    """Row numbers, so many images at a time; rows of an image stand together."""
    starts = [row for row, image_id in enumerate(image_ids) if row == 0 or image_ids[row - 1] != image_id]
    cuts = [*starts[::images], len(image_ids)]
    for low, high in pairwise(cuts):
        yield list(range(low, high))


def proposed_masks(store: FeatureStore, image_id: Any, frame: Letterbox) -> list[np.ndarray]:
    """Mask proposals of an image, in stored pixels and none of them empty."""
    masks = unpack_bits(store.read("masks", [image_id]))[0]
    whole = upsample(masks.float(), height=frame.side, width=frame.side, align_corners=False).numpy()
    stored = [frame.mask_to_image(mask) > 0.5 for mask in whole if mask.any()]
    return [mask for mask in stored if mask.any()]


def read_map(
    square: np.ndarray, frame: Letterbox, image: Path, *, walks: bool, proposals: Sequence[np.ndarray] | None = None
) -> dict[str, Any]:
    """What one map says, in stored pixels; the mask proposal of an image that has none is None."""
    scores = frame.mask_to_image(square)
    map_mask, peak = mask_of(scores), peak_of(scores)
    answer = {
        "point": list(peak),
        "score": float(scores.max()),
        "margin": margin_of(scores),
        "boxes": [float(side) for part in component_boxes(map_mask) for side in part],
        "map_box": flat(box_holding(map_mask, peak)),
        "map_mask": encode_mask(map_mask),
    }
    if walks:
        answer["walk_mask"] = encode_mask(refine(scores, np.asarray(open_image(image))))
    if proposals is not None:
        picked = most_responsive(scores, proposals)
        answer["proposal_mask"] = None if picked is None else encode_mask(picked)
    return answer | {"reason": "" if map_mask.any() else "nothing above zero"}


def flat(box: Box | None) -> list[float] | None:
    """A box as it is stored."""
    return None if box is None else [float(side) for side in box]


def finish_map_labels(labelled: pd.DataFrame, rules: MapLabelParams, card: Mapping[str, Any]) -> pd.DataFrame:
    """With mask and box of the chosen kind, the reasons for refusals, and who answered."""
    column = "prompted_mask" if rules.mask == "segmenter" else f"{rules.mask}_mask"
    labelled = labelled.assign(mask=labelled[column], mask_source=rules.mask).drop(columns="walk_mask", errors="ignore")
    boxes = []
    for mask, point in zip(labelled["mask"], labelled["point"], strict=True):
        boxes.append(None if mask is None else flat(box_holding(decode_mask(mask), (point[0], point[1]))))
    labelled = labelled.assign(box=boxes)
    labelled.loc[labelled["box"].isna() & (labelled["reason"] == ""), "reason"] = "no mask"
    labelled.loc[(labelled["margin"] < rules.min_margin) & (labelled["reason"] == ""), "reason"] = "margin"
    return labelled.assign(accept=labelled["reason"] == "", **provenance(card))
