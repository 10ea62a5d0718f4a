"""Train the detector on the detection split: categories and boxes, no phrase.

reads   the pretraining folder; lists of images to leave out, if any; params: seed, detector
writes  model.safetensors, config.json, training_images.parquet; domain.safetensors: which images it knows
run     dvc repro pretrain_detector
"""

from pathlib import Path

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.records import read_table
from deixis.core.runtime import Device
from deixis.datasets.pretraining import PretrainingSet
from deixis.imaging.images import standardise
from deixis.labelling.domain import Domain, fit_domain, map_statistics, write_domain
from deixis.training.fit import Recipe
from models.detectors.yolov3 import YOLOv3, YOLOv3Config
from models.detectors.yolov3_loss import detection_loss
from training.pretraining import MakeBatch, Pretraining, mirror_half, open_pretraining

DOMAIN = "drawn scenes"
DOMAIN_IMAGES, DOMAIN_BATCH = 900, 50
LEAST_DOMAIN_IMAGES = 300  # fewer say nothing about their kind
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
    run = open_pretraining("pretrain_detector", pretraining, side=config.model.input_size, params=params, device=device)
    leave_out(run.data, exclude)
    model = YOLOv3(config.model).to(run.device).to(memory_format=torch.channels_last)
    facts = run.train(
        model,
        lambda batch: detection_loss(model, *batch[:4], rigid=batch[4]),
        detection_batches(run, rigid_epochs=config.rigid_epochs),
        recipe=config.recipe,
        inputs=(config, *exclude),
        weights=TERM_WEIGHTS,
    )
    source = {"images_from": images_from} if images_from else {}
    run.save(model, out, config=config.model, labels="box", facts=source | {"training": facts})
    if len(run.data.image_ids) >= LEAST_DOMAIN_IMAGES:
        write_domain(domain_of(model, run), out)


@torch.inference_mode()
def domain_of(model: YOLOv3, run: Pretraining) -> Domain:
    """What the training images have in common; two thirds are fitted, the rest set the limit."""
    rows = torch.arange(min(len(run.data.image_ids), DOMAIN_IMAGES))
    seen = [
        map_statistics(model.detect(run.data.squares(part).to(run.device)).maps) for part in rows.split(DOMAIN_BATCH)
    ]
    statistics = torch.cat(seen)
    fitted = 2 * len(statistics) // 3
    return fit_domain(DOMAIN, statistics[:fitted], statistics[fitted:])


def detection_batches(run: Pretraining, *, rigid_epochs: int) -> MakeBatch:
    """Images in standardised units, half of them mirrored, all with another tone; boxes, categories and which count.

    The last part of a batch says whether the detector's offsets still rest.
    """
    objects = run.data.objects()

    def make_batch(rows: Tensor, epoch: int, generator: torch.Generator) -> tuple[Tensor | bool, ...]:
        squares = run.data.squares(rows)
        boxes, squares = mirror_half(objects.boxes_xyxy[rows], squares, generator=generator)
        images = jitter_tone(standardise(squares), generator)
        batch = (images, boxes, objects.categories[rows], objects.valid[rows])
        return *(tensor.to(run.device) for tensor in batch), epoch < rigid_epochs

    return make_batch


def leave_out(data: PretrainingSet, lists: tuple[Path, ...]) -> None:
    """Take the images in the lists out of the training set."""
    tables = [read_table(path, columns=("image_id",), made_by="write_exclusions") for path in lists]
    unwanted = {image_id for table in tables for image_id in table["image_id"]}
    remaining = [image_id for image_id in data.image_ids if image_id not in unwanted]
    if lists:
        print(f"left out {len(data.image_ids) - len(remaining)} of {len(data.image_ids)} images")
    data.image_ids = remaining


def jitter_tone(images: Tensor, generator: torch.Generator) -> Tensor:
    """Strong random contrast and brightness per image, in standardised units."""
    shape = (len(images), 1, 1, 1)
    contrast = torch.empty(shape).uniform_(0.5, 1.6, generator=generator)
    brightness = torch.empty(shape).uniform_(-0.6, 0.6, generator=generator)
    return images * contrast + brightness


if __name__ == "__main__":
    run_stage(pretrain_detector)
