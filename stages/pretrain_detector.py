"""Train the detector on the detection split: categories and boxes, no phrase.

reads   the pretraining folder; lists of images to leave out, if any; params: seed, detector
writes  model.safetensors, config.json, training_images.parquet
run     dvc repro pretrain_detector
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torchvision.transforms.v2.functional import horizontal_flip

from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.records import read_table, write_table
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.datasets.pretraining import PretrainingSet
from deixis.imaging.images import standardise
from deixis.training.fit import Recipe, fit
from models.detectors.yolov3 import YOLOv3, YOLOv3Config
from models.detectors.yolov3_loss import detection_loss

TERM_WEIGHTS = {"box": 2.0, "guide": 1.0, "objectness": 1.0, "category": 2.0}


@dataclass(frozen=True, config=STRICT)
class DetectorParams:
    """The `detector` section."""

    model: YOLOv3Config
    recipe: Recipe
    rigid_epochs: int  # epochs before the deformable offsets join in


def pretrain_detector(
    *,
    pretraining: Path,
    out: Path,
    exclude: tuple[Path, ...] = (),
    images_from: str | None = None,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train the detector on boxes and categories of the detection split.

    Args:
        exclude: Lists of `write_exclusions`: images that it must not see.
        images_from: The set whose ids the images bear, such as coco_train2017; by default we draw them ourselves.
    """
    config = read_section(params, "detector", DetectorParams)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    data = PretrainingSet(pretraining, side=config.model.input_size)
    leave_out(data, exclude)
    objects = data.objects()
    model = YOLOv3(config.model).to(hardware).to(memory_format=torch.channels_last)
    steps = len(data.image_ids) // config.recipe.batch_size

    def batches(epoch: int):
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(data.image_ids), generator=generator)
        for rows in order[: steps * config.recipe.batch_size].split(config.recipe.batch_size):
            squares = data.reader.squares([data.image_ids[row] for row in rows])
            boxes = objects.boxes_xyxy[rows].clone()
            if torch.rand((), generator=generator) < 0.5:
                squares = horizontal_flip(squares)
                boxes[..., [0, 2]] = config.model.input_size - boxes[..., [2, 0]]
            images = jitter_tone(standardise(squares), generator)
            batch = (images, boxes, objects.categories[rows], objects.valid[rows])
            yield (*(tensor.to(hardware) for tensor in batch), epoch < config.rigid_epochs)

    facts = fit(
        model,
        lambda batch: detection_loss(model, *batch[:4], rigid=batch[4]),
        batches,
        steps_per_epoch=steps,
        recipe=config.recipe,
        device=hardware,
        scratch=Path("scratch/pretrain_detector") / run_key(config, seed, pretraining / "instances.json", *exclude),
        weights=TERM_WEIGHTS,
    )
    source = {"images_from": images_from} if images_from else {}
    save_checkpoint(model, out, config={"model": asdict(config.model), "labels": "box", **source, "training": facts})
    write_table(pd.DataFrame({"image_id": data.image_ids}), out / "training_images.parquet")


def leave_out(data: PretrainingSet, lists: tuple[Path, ...]) -> None:
    """Take the images in the lists out of the training set."""
    tables = [read_table(path, columns=("image_id",), made_by="write_exclusions") for path in lists]
    unwanted = {image_id for table in tables for image_id in table["image_id"]}
    kept = [image_id for image_id in data.image_ids if image_id not in unwanted]
    if lists:
        print(f"left out {len(data.image_ids) - len(kept)} of {len(data.image_ids)} images")
    data.image_ids = kept


def jitter_tone(images: Tensor, generator: torch.Generator) -> Tensor:
    """Strong random contrast and brightness per image, in standardised units."""
    shape = (len(images), 1, 1, 1)
    contrast = torch.empty(shape).uniform_(0.5, 1.6, generator=generator)
    brightness = torch.empty(shape).uniform_(-0.6, 0.6, generator=generator)
    return images * contrast + brightness


if __name__ == "__main__":
    run_stage(pretrain_detector)
