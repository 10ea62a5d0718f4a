"""Let a teacher of response maps answer every pair: mask, box and point each: `labels.parquet`. No truth is read.

reads   pairs.parquet, images.parquet, the images, the teacher, the segmenter; cues and proposals for teachers that read
        them, a frozen image-text model where phrases of one object share the best of their maps; params: map_labels
writes  labels.parquet
run     dvc repro write_map_labels@scenes_plus-tris, with tris under run.map_teachers in params.yaml
"""

import hashlib
import json
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
from deixis.batches.map_data import MapReader, read_needed_cues, refuse_other_squares
from deixis.batches.samples import grouped_pairs, unpack_bits
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.errors import DataError
from deixis.core.progress import say, track
from deixis.core.records import read_json, read_table, write_table
from deixis.core.runtime import Device, autocast, pick_device
from deixis.imaging.letterbox import Letterbox
from deixis.imaging.masks import decode_mask, encode_mask
from deixis.imaging.pictures import open_image
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
from deixis.labelling.segmenting import segment_points
from deixis.types import MapBatch
from models.image_text.judges import ImageText, load_image_text
from models.loading.encoders import load_segmenter
from models.loading.trained import load_trained
from models.map_blocks.calibration import masked_cosines, select_maps
from models.map_teachers import MAP_TEACHERS

SCHEMA_VERSION = 1
IMAGES_PER_BATCH = 16


@dataclass(frozen=True, config=STRICT)
class MapLabelParams:
    """What of a response map becomes the label; never by looking at truth."""

    # map: above zero; walk: a random walk from its surest places; segmenter: prompted by the peak; proposal: the mask
    # proposal with the highest response inside
    mask: Literal["map", "walk", "segmenter", "proposal"] = "segmenter"
    select: Literal["train", "all", "none"] = "none"  # where phrases of one object share the best of their maps (PRMS)
    min_margin: float = 0.0  # of the peak over the highest place elsewhere


def write_map_labels(
    *,
    pairs: Path,
    images: Path,
    image_root: Path,
    weights: Path,
    teacher: Path,
    out: Path,
    cues: Path | None = None,
    proposals: Path | None = None,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Let a teacher of response maps answer every pair."""
    rules = read_section(params, "map_labels", MapLabelParams)
    if rules.mask == "proposal" and proposals is None:
        raise DataError(
            'map_labels.mask is "proposal", and this teacher has none. Allowed for it: map, walk, segmenter. '
            "Change params.yaml, then run: dvc repro"
        )
    hardware = pick_device(device)
    model = load_trained(teacher, role="map_teacher", registry=MAP_TEACHERS, device=hardware)
    table = grouped_pairs(pairs).sort_values("image_id", kind="stable").reset_index(drop=True)
    pictures = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    reader = MapReader(
        table,
        pictures,
        image_root=image_root,
        reading=model.reading,
        device=hardware,
        cues=read_needed_cues(model, cues, table["text"]),
    )
    judge = None
    if rules.select != "none":
        judge = load_image_text(model.config.judge, weights, model.reading.vocabulary, hardware)
    paths = {image_id: image_root / path for image_id, path in pictures[["image_id", "path"]].itertuples(index=False)}
    store = None
    if proposals is not None:
        refuse_other_squares(proposals, stretch=model.reading.stretch)
        store = FeatureStore(proposals, made_by="propose_masks")
    labelled = read_maps(model, reader, table, paths=paths, rules=rules, judge=judge, proposals=store)
    segmenter = load_segmenter("small_sam", weights / "segmenter", hardware)
    labelled["prompted_mask"], labelled["mask_quality"] = segment_points(segmenter, labelled, paths=paths)
    if proposals is not None:
        bare = labelled.loc[labelled["proposal_mask"].isna(), "image_id"].nunique()
        say(f"{bare} of {labelled['image_id'].nunique()} images without a proposal")
    card = read_json(teacher / "config.json", made_by="train_map_teacher")
    write_table(finished(labelled, rules, card), out)


def read_maps(
    model: Any,
    reader: MapReader,
    table: pd.DataFrame,
    *,
    paths: Mapping[Any, Path],
    rules: MapLabelParams,
    judge: ImageText | None = None,
    proposals: FeatureStore | None = None,
) -> pd.DataFrame:
    """What the map of each row of `table`, sorted by image, says."""
    answers, walks = [], rules.mask == "walk"
    masks: dict[Any, list[np.ndarray]] = {}
    for rows, squares in answered(model, reader, table, judge, rules):
        for row, square in zip(rows, squares, strict=True):
            image_id = reader.image_ids[row]
            frame = reader.letterbox(image_id)
            if proposals is not None and image_id not in masks:
                masks = {image_id: proposed_masks(proposals, image_id, frame)}  # of one image at a time
            answers.append(read_map(square, frame, paths[image_id], walks=walks, proposals=masks.get(image_id)))
    return table[["sample_id", "image_id", "expression", "split"]].join(pd.DataFrame(answers))


def answered(
    model: Any, reader: MapReader, table: pd.DataFrame, judge: ImageText | None, rules: MapLabelParams
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
    own = torch.arange(len(maps), device=maps.device)
    return maps[torch.where(shares, select_maps(cosines, batch.group_of), own)]


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
    square: np.ndarray, frame: Letterbox, picture: Path, *, walks: bool, proposals: Sequence[np.ndarray] | None = None
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
        answer["walk_mask"] = encode_mask(refine(scores, np.asarray(open_image(picture))))
    if proposals is not None:
        picked = most_responsive(scores, proposals)
        answer["proposal_mask"] = None if picked is None else encode_mask(picked)
    return answer | {"reason": "" if map_mask.any() else "nothing above zero"}


def flat(box: Box | None) -> list[float] | None:
    """A box as it is stored."""
    return None if box is None else [float(side) for side in box]


def finished(labelled: pd.DataFrame, rules: MapLabelParams, card: dict[str, Any]) -> pd.DataFrame:
    """With mask and box of the chosen kind, the reasons for refusals, and who answered."""
    column = "prompted_mask" if rules.mask == "segmenter" else f"{rules.mask}_mask"
    labelled = labelled.assign(mask=labelled[column], mask_source=rules.mask).drop(columns="walk_mask", errors="ignore")
    boxes = []
    for mask, point in zip(labelled["mask"], labelled["point"], strict=True):
        boxes.append(None if mask is None else flat(box_holding(decode_mask(mask), (point[0], point[1]))))
    labelled = labelled.assign(box=boxes)
    labelled.loc[labelled["box"].isna() & (labelled["reason"] == ""), "reason"] = "no mask"
    labelled.loc[(labelled["margin"] < rules.min_margin) & (labelled["reason"] == ""), "reason"] = "margin"
    return labelled.assign(
        accept=labelled["reason"] == "",
        teacher=card["map_teacher"],
        checkpoint_sha256=card["sha256"],
        config_sha256=hashlib.sha256(json.dumps(card["model"]).encode()).hexdigest(),
        schema_version=SCHEMA_VERSION,
    )


if __name__ == "__main__":
    run_stage(write_map_labels)
