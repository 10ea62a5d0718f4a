"""Networks with random weights at some sizes, what they are asked, and the steps that train them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.feature_store import build
from benchmarks.sizes import Sizes
from deixis.batches.features import CPU, FeatureStore
from deixis.batches.samples import PairReader
from deixis.core.frozen import freeze
from deixis.core.runtime import autocast
from deixis.training.adamw import AdamW
from deixis.types import TeacherBatch
from models.detectors.yolov3 import YOLOv3
from models.experts.clip_convnext import CLIPConvNeXt
from models.experts.clip_vit import CLIPViT
from models.experts.dinov2_vit import DINOv2ViT
from models.experts.efficient_sam_vit import EfficientSAMViT
from models.teachers.dvin import DViN, DViNConfig
from models.teachers.refclip import RefCLIP, RefCLIPConfig

LENGTH = 15  # of a phrase
RATE = 1e-4
EXPERTS = {  # as DViN names them: the published architectures
    "contrastive_vit": CLIPViT,
    "distilled_vit": DINOv2ViT,
    "segmentation_vit": EfficientSAMViT,
    "contrastive_convnet": CLIPConvNeXt,
}


class RunningExperts:
    """Experts that run when asked for their maps, on those images alone."""

    def __init__(self, experts: Mapping[str, Any], squares: Tensor) -> None:
        self._experts, self._squares = experts, squares

    def maps(self, expert: str, rows: Tensor) -> Tensor:
        """Maps of one expert for some rows of the batch."""
        return self._experts[expert].encode(self._squares[rows])


class ComputedMaps:
    """Maps of all experts, computed at once for every row."""

    def __init__(self, experts: Mapping[str, Any], squares: Tensor) -> None:
        self._maps = {name: expert.encode(squares) for name, expert in experts.items()}

    def maps(self, expert: str, rows: Tensor) -> Tensor:
        """Maps of one expert for some rows of the batch."""
        return self._maps[expert][rows]


def build_detector(sizes: Sizes, device: torch.device) -> YOLOv3:
    """A frozen detector whose head looks elsewhere than on a grid, as a trained one's does."""
    detector = YOLOv3(sizes.detector)
    for name, weight in detector.named_parameters():
        if name.endswith("offset.weight"):
            torch.nn.init.normal_(weight, std=0.01)
    return freeze(detector.to(device).to(memory_format=torch.channels_last))


def build_experts(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """All experts, frozen."""
    return {name: freeze(EXPERTS[name](config).to(device)) for name, config in sizes.experts.items()}


def build_teacher(name: str, sizes: Sizes, device: torch.device, *, compat: Any) -> Any:
    """RefCLIP or DViN, to be trained."""
    config: Any = RefCLIPConfig(compat=compat) if name == "refclip" else DViNConfig(compat=compat)
    config = replace(config, **sizes.teacher)
    if name == "dvin":
        config = replace(config, experts=dict(sizes.channels))
    teacher = (RefCLIP if name == "refclip" else DViN)(config, sizes.vocabulary)
    return teacher.to(device).to(memory_format=torch.channels_last)


def draw_squares(sizes: Sizes, count: int, device: torch.device) -> Tensor:
    """Images of noise, in their squares."""
    side = sizes.detector.input_size
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, device=device)


def build_stores(folder: Path, sizes: Sizes, images: int) -> dict[str, FeatureStore]:
    """Stores of random features, for a DViN: of the detector and of every expert."""
    square = draw_squares(sizes, 1, CPU)
    detections = build_detector(sizes, CPU).detect(square)
    names = ("coarse", "middle", "fine", "boxes")
    shapes = {"detector": _shapes(dict(zip(names, (*detections.maps, detections.boxes), strict=True)))}
    for name, expert in build_experts(sizes, CPU).items():
        shapes[name] = _shapes({"map": expert.encode(square)})
    return {name: build(folder / name, of_one, images, per_shard=images) for name, of_one in shapes.items()}


def _shapes(arrays: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape[1:]) for name, array in arrays.items()}


def read_pairs(
    stores: Mapping[str, FeatureStore], sizes: Sizes, *, images: int, phrases: int, device: torch.device
) -> PairReader:
    """As many phrases about each of some stored images."""
    words = sizes.vocabulary
    ids = [image for image in range(images) for _ in range(phrases)]
    table = pd.DataFrame({"image_id": ids}).assign(text=" ".join(words[-LENGTH:]))
    return PairReader(table, stores=stores, vocabulary=words, length=LENGTH, device=device)


@torch.no_grad()
def computed(
    sizes: Sizes, count: int, detector: Any, *, maps: type, experts: Mapping[str, Any], device: torch.device
) -> TeacherBatch:
    """Phrases about an image each, of which frozen networks say something now.

    Args:
        maps: RunningExperts or ComputedMaps.
    """
    squares = draw_squares(sizes, count, device)
    tokens = torch.randint(3, sizes.words, (count, LENGTH), device=device)
    rows = torch.arange(count, device=device)
    return TeacherBatch(tokens, rows, detector.detect(squares), maps(experts, squares))


def always_choosing(teacher: Any, expert: int) -> Any:
    """A DViN whose router names one expert, whatever the image."""
    nn.init.zeros_(teacher.router.weight)
    nn.init.zeros_(teacher.router.bias)
    teacher.router.bias.data[expert] = 10.0
    return teacher


def trained_parameters(model: Any) -> list[nn.Parameter]:
    """Of a model, in training mode from now on."""
    return [parameter for parameter in model.train().parameters() if parameter.requires_grad]


def go_back(model: Any, batch: Any, learners: list[nn.Parameter], device: torch.device) -> None:
    """Gradients of the loss, clipped."""
    with autocast(device):
        terms = model.loss(batch)
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    nn.utils.clip_grad_norm_(learners, 0.15)


def training_step(model: Any, read: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """A step of the training loop's optimiser on the batch that is read."""
    learners = trained_parameters(model)
    optimiser = AdamW([(learners, 1.0)], betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0)

    def step() -> None:
        optimiser.zero_grad()
        go_back(model, read(), learners, device)
        optimiser.step(RATE)

    return step
