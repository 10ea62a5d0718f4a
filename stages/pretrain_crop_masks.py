"""Train a segmenter of boxes on the masks of a set's training photographs: no phrase, no category.

reads   instances.json and the images of a raw folder; pairs.parquet, for which images are for training alone; the
        detector; params: seed, crop_masks
writes  model.safetensors, config.json, training_images.parquet
run     dvc repro pretrain_crop_masks@photos, with photos under run.photo_masks in params.yaml
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.batches.order import count_batches, epoch_generator, shuffled_rows
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.errors import ConfigError
from deixis.core.records import read_table, write_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.datasets.photo_masks import PhotoMasks, read_photo_masks
from deixis.imaging.decoding import open_image
from deixis.imaging.masks import decode_mask
from deixis.training.fit import Recipe, fit
from models.detectors.yolox import YOLOX
from models.frozen.detectors import load_detector
from models.segmenters.crop_masks import TERM_WEIGHTS, CropMasks, CropMasksConfig, crop_mask_loss
from training.epochs import refuse_other_epochs

SHIFT, GROWTH = 0.06, 0.08  # of a box's side, either way: a detector's boxes are not exact
CONTRAST, BRIGHTNESS = 0.2, 25.0  # either way; of 1, and in levels from 0 to 255
# Places of objects, random numbers -> their squares, and the share of each pixel that their masks cover
MakeBatch = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True, config=STRICT)
class CropMaskParams:
    """The `crop_masks` section; the trunk is what the detector is."""

    model: CropMasksConfig
    recipe: Recipe


def pretrain_crop_masks(
    *,
    raw: Path,
    pairs: Path,
    detector: Path,
    out: Path,
    dataset: str,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train a decoder of masks on the frozen trunk of a YOLOX."""
    config = read_section(params, "crop_masks", CropMaskParams)
    refuse_other_epochs(config.recipe, "crop_masks")
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    images_from = read_section(params, f"datasets.{dataset}", dict).get("images_from")
    hardware = pick_device(device)
    known = read_photo_masks(raw, training_images(pairs))
    frozen = load_detector(detector, hardware)
    if not isinstance(frozen, YOLOX):
        raise ConfigError(
            f"{detector}: a {type(frozen).__name__}. crop_masks looks with the trunk of a YOLOX: import one as "
            "imports.detector in params.yaml, then run: dvc repro"
        )
    model = CropMasks(replace(config.model, trunk=frozen.config)).to(hardware)
    model.trunk.load_state_dict(frozen.backbone.state_dict())
    size = config.recipe.batch_size
    steps = count_batches(len(known.masks), size, of="masks", setting="crop_masks.recipe.batch_size", found_in=raw)
    make_batch = batch_maker(model, known, hardware)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = epoch_generator(seed, epoch)
        for rows in shuffled_rows(len(known.masks), size, generator):
            yield make_batch(rows, generator)

    key = run_key(config, seed, raw / "instances.json", pairs, detector / "model.safetensors")
    facts = fit(
        model, lambda batch: crop_mask_loss(model, *batch), batches, steps_per_epoch=steps, recipe=config.recipe,
        device=hardware, scratch=Path("scratch/pretrain_crop_masks") / key, weights=TERM_WEIGHTS,
    )  # fmt: skip
    card = {"kind": "crop_masks", "model": asdict(model.config), "labels": "mask", "training": facts}
    card |= {"images_from": images_from} if images_from else {}
    save_checkpoint(model, out, config=card)
    write_table(pd.DataFrame({"image_id": sorted(set(known.image_ids))}), out / "training_images.parquet")


def training_images(pairs: Path) -> set[Any]:
    """Images of the training split that belong to no other."""
    table = read_table(pairs, columns=("image_id", "split"), made_by="prepare")
    is_train = table["split"] == "train"
    return set(table.loc[is_train, "image_id"]) - set(table.loc[~is_train, "image_id"])


def batch_maker(model: CropMasks, known: PhotoMasks, device: torch.device) -> MakeBatch:
    """Cut-outs of boxes that are somewhat off, half of them mirrored, each in another tone."""
    side, grid = model.config.side, model.config.side // 2

    def make_batch(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        boxes = jittered(known.boxes_xyxy[rows], generator)
        squares, covered = [], []
        for row, box in zip(rows.tolist(), boxes, strict=True):
            image = torch.from_numpy(np.array(open_image(known.paths[known.image_ids[row]]))).permute(2, 0, 1)
            mask = torch.from_numpy(decode_mask(known.masks[row]))
            squares.append(model.cut(image.float(), box[None], side)[0])
            covered.append(model.cut(mask.float()[None], box[None], grid)[0, 0])
        mirrored = torch.rand(len(rows), 1, 1, 1, generator=generator) < 0.5
        images, shares = torch.stack(squares), torch.stack(covered)
        images = torch.where(mirrored, images.flip(3), images)
        shares = torch.where(mirrored[:, 0], shares.flip(2), shares)
        return toned(images, generator).to(device), shares.to(device)

    return make_batch


def jittered(boxes_xyxy: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes moved and resized by chance."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    shift, growth = ((2 * torch.rand(len(sides), 2, generator=generator) - 1) * most for most in (SHIFT, GROWTH))
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 + shift * sides
    half = sides * (1 + growth) / 2
    return torch.cat([centre - half, centre + half], 1)


def toned(images: Tensor, generator: torch.Generator) -> Tensor:
    """Another contrast per channel and another brightness, within 0 to 255."""
    contrast = 1 + CONTRAST * (2 * torch.rand(len(images), 3, 1, 1, generator=generator) - 1)
    brightness = BRIGHTNESS * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
    return (images * contrast + brightness).clamp(0, 255)


if __name__ == "__main__":
    run_stage(pretrain_crop_masks)
