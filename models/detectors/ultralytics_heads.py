"""Any ultralytics detection or segmentation model as our detector (extra `ultralytics`, AGPL-3.0).

This is the only file that imports ultralytics, and only when such a model is built or read. Its checkpoints are
pickles of whole modules. They are read by the package's own restricted loader (`torch.load(weights_only=True)` with its
list of known classes), and of what it gives only the tensors and the model's own description are kept: our folder holds
safetensors and JSON, and the network is built anew. The restricted mode also keeps the package from evaluating text
of a description.

A cell has one box and no anchor. Confidence, in place of objectness: the highest class probability of the box. Models
with two heads (YOLOv10, YOLO26) answer with the one-to-many head, which every cell was trained for.
"""

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError, DataError
from deixis.core.published import check_names
from deixis.imaging.letterbox import CENTRED
from deixis.types import SCALES, Detections, Scales

STRIDES = (32, 16, 8)  # pixels per cell of the scales that we read, coarse to fine
HEADS = ("Detect", "v10Detect", "Segment", "Segment26")  # those that give each cell of each scale a box
MASK_HEAD = "Segment"  # whose prototypes come from the fine map alone
DEFAULT_SIDE = 640
REMEDY = (
    "Where you trust it, write it anew with the package that made it, in one process of its own: "
    "python -c \"from ultralytics import YOLO; YOLO('IN.pt').save('OUT.pt')\""
)


@dataclass(frozen=True, config=STRICT)
class UltralyticsConfig:
    """What builds the network again; written by `read_published`, not by hand."""

    architecture: dict[str, Any]  # the model's own YAML, with its scale and number of classes
    channels: tuple[int, int, int]  # of the feature maps, coarse to fine: a teacher's `detector_channels`
    num_classes: int
    task: Literal["detect", "segment"] = "detect"
    input_size: int = DEFAULT_SIDE  # pixels, square letterbox; a multiple of the coarsest stride

    @property
    def strides(self) -> tuple[int, int, int]:
        """Pixels per cell, coarse to fine."""
        return STRIDES


class UltralyticsHeads(nn.Module):
    """Images in, three feature maps and one box per cell out."""

    Config = UltralyticsConfig
    framing = CENTRED

    def __init__(self, config: UltralyticsConfig) -> None:
        super().__init__()
        self.config = config
        self.input_size, self.strides = config.input_size, config.strides
        self.network = _build(config)
        _head(self.network).end2end = False
        self.levels = _levels(self.network, "config.json")

    def detect(self, squares: UInt8[Tensor, "batch 3 side side"], *, scales: Scales = ("coarse",)) -> Detections:
        """Maps that enter the head at strides 32, 16 and 8, and the boxes of some of them (32, by default).

        Levels are scaled to [0, 1] and nothing else. Boxes have the highest class probability where others have
        objectness, then the probability of every class.
        """
        answer, raw = self.network(squares.float() / 255)
        answer = answer[0] if isinstance(answer, tuple) else answer  # segmentation puts prototypes beside it
        maps = raw.get("one2many", raw)["feats"]
        parts = answer.split([x.shape[-2] * x.shape[-1] for x in maps], dim=2)
        outputs = torch.cat([parts[self.levels[SCALES.index(scale)]] for scale in scales], 2)
        boxes = outputs.transpose(1, 2)[:, :, None, : 4 + self.config.num_classes]
        confidence = boxes[..., 4:].amax(-1, keepdim=True)
        return Detections(
            maps=tuple(maps[level] for level in self.levels),
            boxes=torch.cat([boxes[..., :4], confidence, boxes[..., 4:]], -1),
        )

    @staticmethod
    def read_published(path: Path, *, input_size: int = DEFAULT_SIDE) -> tuple[UltralyticsConfig, dict[str, Tensor]]:
        """Description and tensors, in single precision, of a checkpoint (`.pt`) that ultralytics saved.

        Raises:
            ConfigError: If ultralytics is not installed, or was imported without its restricted mode.
            DataError: If the file is missing, holds unknown classes, or is another kind of model.
        """
        stored = _read(path)
        head = _head(stored)
        if type(head).__name__ not in HEADS:
            raise DataError(
                f"{path}: ends in {type(head).__name__}, which gives the cells of a grid no boxes of their own. "
                f"Allowed: {', '.join(HEADS)}. Name a detection or segmentation model"
            )
        levels = _levels(stored, path)
        tensors = {
            f"network.{name}": tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in stored.state_dict().items()
        }
        config = UltralyticsConfig(
            architecture=json.loads(json.dumps(stored.yaml)),  # as it comes back from config.json
            channels=tuple(head.cv2[level][0].conv.in_channels for level in levels),
            num_classes=head.nc,
            input_size=input_size,
            task="segment" if type(head).__name__.startswith("Segment") else "detect",
        )
        expected = {f"network.{name}": tensor for name, tensor in _build(config).state_dict().items()}
        check_names(tensors, expected, path=path, what="the model that its own description builds")
        return config, tensors


class UltralyticsMasks(nn.Module):
    """The mask head of a segmentation model, over the same stored maps as `PrototypeMasks` and with its answer."""

    Config = UltralyticsConfig

    def __init__(self, config: UltralyticsConfig) -> None:
        super().__init__()
        self.config = config
        network = _build(config)
        head = _head(network)
        if type(head).__name__ != MASK_HEAD:
            raise ConfigError(
                f"this ultralytics model ends in {type(head).__name__}. Allowed for masks: {MASK_HEAD}, whose "
                "prototypes come from the fine map alone (YOLOv8-seg, YOLO11-seg). Name such a model"
            )
        self.place, self.level = f"network.model.{len(network.model) - 1}", _levels(network, "config.json")[0]
        self.prototypes = head.proto
        self.coefficients = head.cv4[self.level]

    def forward(
        self, coarse: Float[Tensor, "batch coarse_channels h w"], fine: Float[Tensor, "batch fine_channels H W"]
    ) -> tuple[Tensor, Tensor]:
        """Prototypes [batch, prototypes, 2 H, 2 W] and coefficients [batch, h * w, 1, prototypes]."""
        return self.prototypes(fine), self.coefficients(coarse).flatten(2).transpose(1, 2)[:, :, None]

    @staticmethod
    def read_published(path: Path, *, input_size: int = DEFAULT_SIDE) -> tuple[UltralyticsConfig, dict[str, Tensor]]:
        """The same as of `UltralyticsHeads`, but with the tensors of the mask head alone."""
        config, tensors = UltralyticsHeads.read_published(path, input_size=input_size)
        masks = UltralyticsMasks(config)
        places = {f"{masks.place}.proto.": "prototypes.", f"{masks.place}.cv4.{masks.level}.": "coefficients."}
        return config, {
            new + name.removeprefix(old): tensor
            for old, new in places.items()
            for name, tensor in tensors.items()
            if name.startswith(old)
        }


def _library() -> Any:
    os.environ["YOLO_OFFLINE"] = "true"  # read when the package is imported: fetches nothing, reports nothing
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"
    try:
        from ultralytics import utils
        from ultralytics.nn import tasks
    except ModuleNotFoundError:
        raise ConfigError(
            "ultralytics is not installed. It is an extra, under AGPL-3.0. Run: uv sync --extra ultralytics"
        ) from None
    if not utils.SAFE_LOAD:
        raise ConfigError(
            "ultralytics was imported in this process without its restricted mode. "
            "Set ULTRALYTICS_SAFE_LOAD=true in the environment and start again"
        )
    return tasks


def _read(path: Path) -> nn.Module:
    tasks = _library()
    if not path.is_file():
        raise DataError(f"{path}: missing. Name the checkpoint that ultralytics saved")
    if path.suffix != ".pt":
        raise DataError(f"{path}: not a checkpoint of ultralytics by its name. Allowed: a file that ends in .pt")
    try:
        stored, _ = tasks.torch_safe_load(str(path.absolute()), safe_only=True)
    except (TypeError, RuntimeError, ModuleNotFoundError, AttributeError) as error:
        reason = str(error).splitlines()[0][:300]
        raise DataError(f"{path}: not read, because nothing in it is executed ({reason}). {REMEDY}") from None
    model = stored.get("ema") or stored.get("model")
    if not isinstance(model, nn.Module) or not isinstance(getattr(model, "yaml", None), dict):
        raise DataError(f"{path}: holds no model with its description. {REMEDY}")
    return model


def _build(config: UltralyticsConfig) -> nn.Module:
    tasks = _library()
    kind = {"detect": tasks.DetectionModel, "segment": tasks.SegmentationModel}[config.task]
    try:
        return kind(cfg=deepcopy(config.architecture), ch=3, verbose=False)
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise DataError(
            f"config.json: its architecture is not what ultralytics builds ({error}). "
            "Allowed: the description of a checkpoint that the installed version wrote. Read the checkpoint again"
        ) from None


def _head(network: nn.Module) -> Any:
    return network.model[-1]


def _levels(network: nn.Module, where: Path | str) -> list[int]:
    """Which of the model's scales are at our strides."""
    strides = [int(stride) for stride in getattr(_head(network), "stride", ())]
    if not set(STRIDES) <= set(strides):
        raise DataError(
            f"{where}: a model with strides {strides}. Allowed: any with {', '.join(map(str, STRIDES))} among them, "
            "because the feature store has a coarse, a middle and a fine map. Name another model"
        )
    return [strides.index(stride) for stride in STRIDES]
