"""mmdet's one-stage detectors as our detector (extra `mmdet`): YOLOv3 first, and others whose heads we can read.

A head is read before non-maximum suppression: its raw maps, its own priors and its own box coder. Which heads: YOLOv3,
YOLOX, and those of one or two dense maps with a box coder (RetinaNet, ATSS, FCOS, RTMDet). Confidence, in place of
objectness: objectness times the highest class probability; heads with centre-ness have it for objectness, heads with
neither count it as 1. It is the score by which mmdet itself ranks boxes.

The description of a published file is found by the file's name in the package's own model index. For others it is a
JSON file beside the weights, because mmdet's configs are Python programs. mmengine would import whatever a dotted name
in a description says, so such names are refused, and no description makes it fetch anything.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError, DataError
from deixis.core.published import check_names, read_tensors
from deixis.imaging.letterbox import CENTRED
from deixis.types import SCALES, Detections, Scales

STRIDES = (32, 16, 8)  # pixels per cell of the scales that we read, coarse to fine
DENSE_HEADS = ("RetinaHead", "ATSSHead", "FCOSHead", "RTMDetHead", "RTMDetSepBNHead")
YOLOV3, YOLOX = "YOLOV3Head", "YOLOXHead"
HEADS = (YOLOV3, YOLOX, *DENSE_HEADS)
TRAINING_ONLY = ("init_cfg", "pretrained", "train_cfg", "batch_augments")  # None in what we build
REMEDY = (
    "mmdet's tools/model_converters/publish_model.py IN OUT, run where you trust the file, leaves the tensors alone"
)


@dataclass(frozen=True, config=STRICT)
class MMDetConfig:
    """What builds the network again; written by `read_published`, not by hand."""

    architecture: dict[str, Any]  # the `model` section of mmdet's config
    channels: tuple[int, int, int]  # of the feature maps, coarse to fine: a teacher's `detector_channels`
    num_classes: int
    input_size: int = 416  # pixels, square letterbox

    @property
    def strides(self) -> tuple[int, int, int]:
        """Pixels per cell, coarse to fine."""
        return STRIDES


class MMDetHeads(nn.Module):
    """Images in, three feature maps and the boxes of their cells out."""

    Config = MMDetConfig
    framing = CENTRED

    def __init__(self, config: MMDetConfig) -> None:
        super().__init__()
        self.config = config
        self.input_size, self.strides = config.input_size, config.strides
        self.network = _build(config.architecture)
        self.levels = _levels(self.network.bbox_head)

    def detect(self, squares: UInt8[Tensor, "batch 3 side side"], *, scales: Scales = ("coarse",)) -> Detections:
        """Maps that enter the last layers of the head at strides 32, 16 and 8, and the boxes of some (32, by default).

        Levels are standardised as the model's own preprocessor does. Boxes have objectness times the highest class
        probability where others have objectness, then the probability of every class, given an object.
        """
        maps = _head_inputs(self.network, _preprocess(squares, self.config.architecture))
        head = self.network.bbox_head
        decode = _yolov3_boxes if type(head).__name__ == YOLOV3 else _dense_boxes
        boxes = [decode(head, maps, self.levels[SCALES.index(scale)]) for scale in scales]
        return Detections(maps=tuple(maps[level] for level in self.levels), boxes=torch.cat(boxes, 1))

    @staticmethod
    def read_published(path: Path, *, input_size: int = 416) -> tuple[MMDetConfig, dict[str, Tensor]]:
        """Description and tensors of an mmdet checkpoint (`.pth`), or of its tensors as safetensors.

        Raises:
            ConfigError: If mmdet is not installed.
            DataError: If no description is known, or names something that is not mmdet's; if the head is of a kind that
                we cannot read; if the file holds more than tensors, or other tensors than the description wants.
        """
        architecture = _describe(path)
        network = _build(architecture, path)
        tensors = {f"network.{name}": tensor for name, tensor in read_tensors(path, remedy=REMEDY).items()}
        expected = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
        check_names(tensors, expected, path=path, what=f"{architecture['type']} as described")
        with torch.no_grad():
            maps = _head_inputs(network.eval(), torch.zeros(1, 3, 4 * STRIDES[0], 4 * STRIDES[0]))
        channels = tuple(maps[level].shape[1] for level in _levels(network.bbox_head, path))
        return MMDetConfig(architecture, channels, network.bbox_head.num_classes, input_size), tensors


def _preprocess(squares: Tensor, architecture: dict[str, Any]) -> Tensor:
    """RGB bytes to what the model was trained on; mmdet reads images as BGR and may turn them round."""
    facts = architecture.get("data_preprocessor") or {}
    images = squares.float() if facts.get("bgr_to_rgb") else squares.flip(1).float()
    if facts.get("mean") is None:
        return images
    mean, std = (torch.tensor(facts[name], device=images.device, dtype=images.dtype) for name in ("mean", "std"))
    return (images - mean[:, None, None]) / std[:, None, None]


def _head_inputs(network: Any, images: Tensor) -> Sequence[Tensor]:
    """The neck's maps; of YOLOv3 those after its head's own 3x3 convolutions, which our YOLOv3 has in its neck."""
    maps, head = network.extract_feat(images), network.bbox_head
    if type(head).__name__ == YOLOV3:
        return [bridge(scale) for bridge, scale in zip(head.convs_bridge, maps, strict=True)]
    return maps


def _yolov3_boxes(head: Any, maps: Sequence[Tensor], level: int) -> Tensor:
    """The boxes of one level: [batch, cells, 3, 5 + classes]."""
    raw = head.convs_pred[level](maps[level])
    batch, _, height, width = raw.shape
    raw = raw.permute(0, 2, 3, 1).reshape(batch, -1, head.num_attrib)
    priors = head.prior_generator.single_level_grid_priors((height, width), level, raw.dtype, raw.device)
    centred = torch.cat([raw[..., :2].sigmoid(), raw[..., 2:4]], -1)
    corners = head.bbox_coder.decode(priors, centred, head.featmap_strides[level])
    return _rows(corners, raw[..., 5:].sigmoid(), raw[..., 4].sigmoid(), cells=height * width)


def _dense_boxes(head: Any, maps: Sequence[Tensor], level: int) -> Tensor:
    """The boxes of one level of a head with one map of classes, one of boxes and perhaps one of objectness."""
    classes, raw, *others = (part[level] for part in head(maps))
    batch, _, height, width = raw.shape
    classes, raw, *others = (
        _per_box(part, values)
        for part, values in zip((classes, raw, *others), (head.cls_out_channels, 4, 1), strict=False)
    )
    yolox = type(head).__name__ == YOLOX
    options = {"with_stride": True} if yolox else {}
    priors = head.prior_generator.single_level_grid_priors(
        (height, width), level, dtype=raw.dtype, device=raw.device, **options
    )
    corners = (
        head._bbox_decode(priors, raw)
        if yolox
        else head.bbox_coder.decode(priors.expand(batch, *priors.shape).flatten(0, 1), raw.flatten(0, 1)).view(
            raw.shape
        )
    )
    objectness = others[0][..., 0].sigmoid() if others else torch.ones_like(raw[..., 0])
    return _rows(corners, classes.sigmoid(), objectness, cells=height * width)


def _per_box(raw: Tensor, values: int) -> Tensor:
    """[batch, boxes per cell * values, h, w] to [batch, h * w * boxes per cell, values], the order of the priors."""
    return raw.permute(0, 2, 3, 1).reshape(len(raw), -1, values)


def _rows(corners: Tensor, classes: Tensor, objectness: Tensor, *, cells: int) -> Tensor:
    from mmdet.structures.bbox import bbox_xyxy_to_cxcywh

    confidence = objectness * classes.amax(-1)
    rows = torch.cat([bbox_xyxy_to_cxcywh(corners), confidence[..., None], classes], -1)
    return rows.unflatten(1, (cells, -1))


def _library() -> Any:
    try:
        import mmdet.models  # noqa: F401  fills the registry
        from mmdet.registry import MODELS
    except ModuleNotFoundError:
        raise ConfigError(
            "mmdet is not installed. It is an extra, which compiles for some minutes. Run: uv sync --extra mmdet"
        ) from None
    return MODELS


def _build(architecture: dict[str, Any], where: Path | str = "config.json") -> Any:
    registry = _library()
    from mmengine.config import ConfigDict

    _refuse_foreign(architecture, where)
    with registry.switch_scope_and_registry("mmdet") as scoped:
        network = scoped.build(ConfigDict(deepcopy(architecture)))
    head = getattr(network, "bbox_head", None)
    if type(head).__name__ not in HEADS:
        kind = type(head).__name__ if head is not None else "no bbox_head"
        raise DataError(
            f"{where}: {architecture.get('type')} has {kind}, whose boxes we cannot read per cell. "
            f"Allowed: {', '.join(HEADS)}. Name a model with one of them"
        )
    return network


def _levels(head: Any, where: Path | str = "config.json") -> list[int]:
    """Which of the head's scales are at our strides."""
    strides = [stride[0] if isinstance(stride, tuple) else stride for stride in head.prior_generator.strides]
    if not set(STRIDES) <= set(strides):
        raise DataError(
            f"{where}: a model with strides {strides}. Allowed: any with {', '.join(map(str, STRIDES))} among them, "
            "because the feature store has a coarse, a middle and a fine map. Name another model"
        )
    return [strides.index(stride) for stride in STRIDES]


def _describe(path: Path) -> dict[str, Any]:
    """The `model` section for a file of weights."""
    beside = path.with_suffix(".json")
    if beside.is_file():
        try:
            whole = json.loads(beside.read_text())
        except ValueError as error:
            raise DataError(f"{beside}: not JSON ({error}). Write it anew") from None
    else:
        whole = _published_config(path)
    model = whole.get("model", whole) if isinstance(whole, dict) else None
    if not isinstance(model, dict) or "type" not in model:
        raise DataError(f"{beside}: has no model section with a type. Write mmdet's own config there as JSON")
    if "data_preprocessor" not in model and isinstance(whole.get("data_preprocessor"), dict):
        model = model | {"data_preprocessor": whole["data_preprocessor"]}
    return json.loads(json.dumps(_inference_only(model)))


def _published_config(path: Path) -> dict[str, Any]:
    _library()
    import mmdet
    from mmengine.config import Config
    from ruamel.yaml import YAML

    folder = Path(mmdet.__file__).parent / ".mim"
    reader = YAML(typ="safe")
    for part in reader.load((folder / "model-index.yml").read_text())["Import"]:
        listed = reader.load((folder / part).read_text())
        for model in listed.get("Models", []) if isinstance(listed, dict) else listed:
            if str(model.get("Weights", "")).rsplit("/", 1)[-1] == path.name:
                return Config.fromfile(folder / model["Config"]).to_dict()
    raise DataError(
        f"{path}: not a file name of mmdet's model index, and {path.with_suffix('.json').name} is not beside it. "
        "Where you trust its config, write that: "
        f"python -c \"from mmengine import Config; Config.fromfile('CONFIG.py').dump('{path.with_suffix('.json')}')\""
    )


def _inference_only(part: Any) -> Any:
    """A description without what only training reads, and without what would fetch weights."""
    if isinstance(part, dict):
        return {name: None if name in TRAINING_ONLY else _inference_only(value) for name, value in part.items()}
    return [_inference_only(value) for value in part] if isinstance(part, list | tuple) else part


def _refuse_foreign(part: Any, where: Path | str) -> None:
    """Only names of mmdet's own registry: mmengine would import anything else, and call it.

    Raises:
        DataError: On a type that is not a plain name.
    """
    if isinstance(part, dict):
        kind = part.get("type", "")
        if not isinstance(kind, str) or "." in kind:
            raise DataError(
                f'{where}: describes a part of type "{kind}". Allowed: plain names that mmdet registers, without dots. '
                "Describe the model with mmdet's own parts"
            )
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _refuse_foreign(value, where)
