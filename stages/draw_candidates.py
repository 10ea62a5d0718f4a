"""The mask of each of the detector's candidates by its own mask head, once per image: no segmenter, no prompt.

reads   images.parquet, detections.parquet, the detector's feature store, the mask head; params: candidates
writes  <teacher>_masks.parquet: of each image the masks of its candidates, in their order
run     dvc repro draw_candidates@scenes_plus-dvin, with a teacher under run.redrawn in params.yaml
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic import TypeAdapter
from torch import Tensor, nn

from deixis.anchors import best_boxes, gather_cells, keep_confident_cells
from deixis.batches.candidates import CandidateParams
from deixis.batches.features import FeatureStore, chunks
from deixis.batches.pooled import refuse_pooled
from deixis.core.checkpoints import load_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.frozen import freeze
from deixis.core.progress import track
from deixis.core.records import read_json, read_table, write_table
from deixis.core.registry import resolve
from deixis.core.runtime import Device, pick_device
from deixis.imaging.letterbox import Letterbox
from deixis.imaging.masks import encode_mask
from models.detectors import MASK_HEADS
from models.detectors.prototype_masks import assemble

IMAGES_PER_READ = 64
THRESHOLD = 0.5
SAME_PIXELS = 0.01  # pixels by which a listed corner may differ from ours


def draw_candidates(
    *,
    images: Path,
    features: Path,
    candidates: Path,
    head: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Draw the mask of every candidate of every image."""
    config = read_section(params, "candidates", CandidateParams)
    hardware = pick_device(device)
    sizes = read_table(images, columns=("image_id", "width", "height"), made_by="prepare").sort_values("image_id")
    table = read_table(candidates, columns=("image_id", "boxes"), made_by="list_candidates")
    listed = dict(zip(table["image_id"], table["boxes"], strict=True))
    side = read_json(features / "meta.json", made_by="extract_features")["input_size"]
    store = FeatureStore(features)
    model = load_mask_head(head, hardware)
    parts = list(chunks(sizes[["image_id", "width", "height"]].values.tolist(), IMAGES_PER_READ))
    rows = []
    for part in track(parts, "drawing", total=len(parts)):
        ids = [image_id for image_id, _, _ in part]
        coarse, fine, boxes = (store.read(name, ids, hardware) for name in ("coarse", "fine", "boxes"))
        refuse_pooled(coarse, fine, "a mask head")
        with torch.inference_mode():
            prototypes, coefficients = model(coarse, fine)
            corners, chosen = most_confident_boxes(boxes, coefficients, config.keep_fraction)
        for place, (image_id, width, height) in enumerate(part):
            frame = Letterbox(width, height, side)
            check_same(frame.boxes_to_image(corners[place].cpu()), listed.get(image_id), image_id, candidates)
            soft = assemble(prototypes[place], chosen[place], corners[place], side=side).cpu().numpy()
            rows.append((image_id, [encode_mask(frame.mask_to_image(mask) > THRESHOLD) for mask in soft]))
    write_table(pd.DataFrame(rows, columns=["image_id", "masks"]), out)


def most_confident_boxes(
    boxes: Float[Tensor, "batch cells per_cell values"],
    coefficients: Float[Tensor, "batch cells per_cell prototypes"],
    keep_fraction: float,
) -> tuple[Float[Tensor, "batch kept 4"], Float[Tensor, "batch kept prototypes"]]:
    """Corners, in pixels of the square, and coefficients of the candidates, in the order of `list_candidates`."""
    kept_cells = keep_confident_cells(boxes, keep_fraction)
    confidence = gather_cells(boxes, kept_cells)[..., 4].mean(-1)
    cells = kept_cells.gather(1, confidence.argsort(dim=1, descending=True, stable=True))
    most_confident = gather_cells(boxes, cells)
    best = most_confident[..., 4].argmax(-1)[..., None, None].expand(*cells.shape, 1, coefficients.shape[-1])
    return best_boxes(most_confident).corners, gather_cells(coefficients, cells).gather(2, best).squeeze(2)


def check_same(drawn_xyxy: Float[Tensor, "kept 4"], listed: np.ndarray | None, image_id: int, path: Path) -> None:
    """Refuse a list of candidates that was made from other features than the masks will be.

    Raises:
        DataError: If the image is not listed, or with other boxes.
    """
    flat = np.empty(0) if listed is None else listed
    if flat.size != drawn_xyxy.numel() or not np.allclose(flat, drawn_xyxy.flatten().numpy(), atol=SAME_PIXELS):
        raise DataError(
            f"{path}: lists {flat.size // 4} boxes of image {image_id}, not the {len(drawn_xyxy)} of the detector's "
            "features. Masks are drawn for the same boxes in the same order. Run: dvc repro -f list_candidates"
        )


def load_mask_head(folder: Path, device: torch.device) -> nn.Module:
    """The frozen mask head; config.json may name its `kind`, and means our own where it does not."""
    made_by = "pretrain_mask_head@prototype_masks"
    card = read_json(folder / "config.json", made_by=made_by)
    kind = resolve(MASK_HEADS, card.get("kind", "prototype_masks"), role="mask head")
    model = kind(TypeAdapter(kind.Config).validate_python(card["model"]))
    load_checkpoint(model, folder, made_by=made_by)
    return freeze(model.to(device))


if __name__ == "__main__":
    run_stage(draw_candidates)
