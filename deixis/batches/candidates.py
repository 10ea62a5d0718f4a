"""Boxes that a ranking student may answer with, of every image: found by the detector, or annotated."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.anchors import best_boxes, gather_cells, keep_confident_cells
from deixis.batches.features import ArrayStore, chunks, has_survivors
from deixis.boxes import cut_to, paired_iou
from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.core.records import read_table
from deixis.imaging.letterbox import Letterbox
from deixis.types import Suppression

CandidateSource = Literal["detections", "annotations"]
MADE_BY: dict[CandidateSource, str] = {"detections": "list_candidates", "annotations": "prepare"}
IMAGES_PER_READ = 256


@dataclass(frozen=True, config=STRICT)
class CandidateParams:
    """The `candidates` section."""

    keep_fraction: float = 0.2  # of the coarse cells, the most confident; not below any teacher's
    mask_stride: int = 4  # pixels of the input per pixel of a stored mask
    best_of_three: bool = False  # masks per box that the segmenter draws to choose from; WeakMCN's release does


def most_confident_boxes(store: ArrayStore, frames: Mapping[int, Letterbox], *, keep_fraction: float) -> pd.DataFrame:
    """Of each image the best box of each kept cell, in stored pixels, most confident first, and its category.

    Of a store that holds what suppression left, all of that.

    Args:
        frames: How each image lies in the detector's square.
    """
    rows = []
    for ids in chunks(sorted(frames), IMAGES_PER_READ):
        if has_survivors(store):
            cells = store.read("survivor_boxes", ids)
        else:
            boxes = store.read("boxes", ids)
            cells = gather_cells(boxes, keep_confident_cells(boxes, keep_fraction))
        order = cells[..., 4].mean(-1).argsort(dim=1, descending=True, stable=True)
        best = best_boxes(cells)
        corners = torch.gather(best.corners, 1, order[..., None].expand(-1, -1, 4))
        categories = best.classes.argmax(-1).gather(1, order)
        for image_id, boxes_in_square, kinds in zip(ids, corners, categories, strict=True):
            stored = frames[image_id].boxes_to_image(boxes_in_square)
            rows.append((image_id, stored.flatten().tolist(), kinds.tolist()))
    return pd.DataFrame(rows, columns=["image_id", "boxes", "categories"])


class ImageCandidates(NamedTuple):
    """Candidate boxes of one image: corners in stored pixels, cut to the image, and numbers of categories."""

    boxes_xyxy: Float[Tensor, "candidates 4"]
    categories: Int[Tensor, " candidates"]


class CandidateTable:
    """Candidate boxes by image id.

    Args:
        path: Columns image_id, boxes (flat corners in stored pixels, most confident first) and categories.
        images: Columns image_id, width, height.

    Raises:
        DataError: If the file is missing, or lacks an image or has no box of it when that image is asked for.
    """

    def __init__(self, path: Path, images: pd.DataFrame, *, source: CandidateSource, suppression: Suppression) -> None:
        table = read_table(path, columns=("image_id", "boxes", "categories"), made_by=MADE_BY[source])
        self._frames = {row.image_id: torch.tensor([0.0, 0.0, row.width, row.height]) for row in images.itertuples()}
        self._path = path
        self._source: CandidateSource = source
        self._of: dict[int, ImageCandidates] = {}
        for image_id, flat, categories in table.itertuples(index=False):
            if image_id in self._frames:
                boxes = torch.from_numpy(np.array(flat, dtype=np.float32)).view(-1, 4)
                kinds = torch.from_numpy(np.array(categories, dtype=np.int64))
                candidates = _inside(ImageCandidates(boxes, kinds), self._frames[image_id])
                self._of[image_id] = candidates if source == "annotations" else _suppress(candidates, suppression)

    def __getitem__(self, image_id: int) -> ImageCandidates:
        """Candidates of one image, at least one."""
        candidates = self._of.get(image_id)
        if candidates is None or not len(candidates.boxes_xyxy):
            what = "does not list" if candidates is None else "has no box inside"
            more = (
                "Raise candidates.keep_fraction in params.yaml"
                if self._source == "detections"
                else "Annotate an object of it"
            )
            remedy = f"{more} if that is not enough" if candidates is None else more
            raise DataError(
                f"{self._path}: {what} image {image_id}. A student that ranks candidates needs at least one for every "
                f"image. Run: dvc repro -f {MADE_BY[self._source]}. {remedy}"
            )
        return candidates

    def nearest(self, image_ids: Sequence[int], boxes_xyxy: Float[Tensor, "labels 4"]) -> "Nearest":
        """The candidate that each label's box, in stored pixels, means; the box is cut to the image first."""
        candidates = [self[image_id].boxes_xyxy for image_id in image_ids]
        padded = torch.nn.utils.rnn.pad_sequence(candidates, batch_first=True)
        valid = torch.tensor([[k < len(c) for k in range(padded.shape[1])] for c in candidates])
        frames = torch.stack([self._frames[image_id] for image_id in image_ids])
        return nearest_candidates(cut_to(boxes_xyxy, frames), padded, valid)


class Nearest(NamedTuple):
    """Place of the candidate that overlaps a box most, and their IoU."""

    place: Int[Tensor, " boxes"]
    iou: Float[Tensor, " boxes"]


def nearest_candidates(
    boxes_xyxy: Float[Tensor, "boxes 4"],
    candidates_xyxy: Float[Tensor, "boxes candidates 4"],
    valid: Bool[Tensor, "boxes candidates"],
) -> Nearest:
    """Of each box's candidates the one with the highest IoU; the first where several have it.

    IoU does not change with the frame, so stored pixels and those of the letterboxed input give the same answer.
    """
    overlap = paired_iou(boxes_xyxy[:, None].expand_as(candidates_xyxy), candidates_xyxy)
    iou, place = overlap.masked_fill(~valid, -1.0).max(1)
    return Nearest(place, iou)


def _inside(candidates: ImageCandidates, frame_xyxy: Float[Tensor, " 4"]) -> ImageCandidates:
    """Boxes cut to the image; those that lie outside of it, or are not finite, go."""
    boxes = cut_to(candidates.boxes_xyxy, frame_xyxy.expand_as(candidates.boxes_xyxy))
    sound = (boxes[:, 2:] > boxes[:, :2]).all(1) & candidates.boxes_xyxy.isfinite().all(1)
    return ImageCandidates(boxes[sound], candidates.categories[sound])


def _suppress(candidates: ImageCandidates, suppression: Suppression) -> ImageCandidates:
    """Greedy suppression in the order of the boxes, which are few; torchvision takes seconds to import."""
    boxes, categories = candidates
    rivals = len(boxes), len(boxes), 4
    overlap = paired_iou(boxes[:, None].expand(rivals), boxes[None].expand(rivals)) > suppression.iou
    if suppression.by_category:
        overlap &= categories[:, None] == categories
    kept: list[int] = []
    for number in range(len(boxes)):
        if not overlap[number, kept].any():
            kept.append(number)
    return ImageCandidates(boxes[kept], categories[kept])
