"""Published YOLOX files, in either layout, into our modules: convolutions with their BatchNorm folded in.

The checkpoint names its tensors as our modules do, with `.bn` beside each `.conv`. An ONNX export has lost the names of
all but the last convolutions; it lists them in the order in which they run, and so does our network when it is run.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.published import check_names, read_tensors
from models.blocks.yolox import Head, Pyramid

NORM_EPS = 1e-3  # of every BatchNorm in the release
SIZES = {  # width, depth, depthwise
    "nano": (0.25, 0.33, True),
    "tiny": (0.375, 0.33, False),
    "s": (0.5, 0.33, False),
    "m": (0.75, 0.67, False),
    "l": (1.0, 1.0, False),
    "x": (1.25, 1.33, False),
}
AFTER_CLASSES = {False: 4, True: 6}  # convolutions that run after the last class output: box side, box, objectness
PROBE_SIDE = 32  # pixels; the smallest image that all strides divide


class Published(NamedTuple):
    """Sizes of a published network, and its state under our names."""

    width: float
    depth: float
    depthwise: bool
    num_classes: int
    tensors: dict[str, Tensor]


def read_checkpoint(path: Path) -> Published:
    """The authors' `.pth`.

    Raises:
        DataError: If a tensor is missing, unknown or of another shape than those of one of the published sizes.
    """
    tensors = fold_norms(read_tensors(path), path=path)
    classes = _count_classes(tensors.get("head.cls_preds.0.bias"), path)
    stem = tensors.get("backbone.backbone.stem.conv.conv.weight")
    sizes = _sizes_with(0 if stem is None else len(stem), path)
    with torch.device("meta"):
        expected = _network(*sizes, classes).state_dict()
    check_names(tensors, expected, path=path, what=f"YOLOX of width {sizes[0]} and depth {sizes[1]}")
    return Published(*sizes, classes, {name: tensors[name] for name in expected})


def read_onnx(path: Path) -> Published:
    """An ONNX export, whose convolutions are taken in the order in which they run.

    Raises:
        DataError: If the file is damaged, or its convolutions are not those of one of the published sizes.
    """
    convolutions = _onnx_convolutions(path)
    sizes = _sizes_with(len(convolutions[0][0]), path)
    class_output = AFTER_CLASSES[sizes[2]] + 1  # counted from the end
    classes = _count_classes(convolutions[-class_output][1] if len(convolutions) >= class_output else None, path)
    with torch.device("meta"):
        network = _network(*sizes, classes)
        places = _places_in_order(network)
    expected = [tuple(place.weight.shape) for place in places.values()]
    found = [tuple(weight.shape) for weight, _ in convolutions]
    if found != expected:
        at = next((n for n, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), -1)
        what = f"number {at + 1} is {list(found[at])}, not {list(expected[at])}" if at >= 0 else "all others agree"
        raise DataError(
            f"{path}: {len(found)} convolutions, expected {len(expected)} of YOLOX with width {sizes[0]} and depth "
            f"{sizes[1]}; {what}. Allowed: an export of a published YOLOX. Fetch the file that its card names"
        )
    tensors: dict[str, Tensor] = {}
    for name, (weight, bias) in zip(places, convolutions, strict=True):
        tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return Published(*sizes, classes, {name: tensors[name] for name in network.state_dict()})


def fold_norms(tensors: dict[str, Tensor], *, path: Path) -> dict[str, Tensor]:
    """Each BatchNorm of a state, in evaluation, into the convolution beside it: weight and bias."""
    folded = {name: tensor for name, tensor in tensors.items() if ".bn." not in name}
    for scale_name in [name for name in tensors if name.endswith(".bn.weight")]:
        place = scale_name.removesuffix("bn.weight")
        try:
            weight = tensors[f"{place}conv.weight"]
            scale, shift, mean, variance = (
                tensors[f"{place}bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
            )
            factor = scale / (variance + NORM_EPS).sqrt()
            folded[f"{place}conv.weight"] = weight * factor[:, None, None, None]
            folded[f"{place}conv.bias"] = shift - mean * factor
        except (KeyError, RuntimeError, IndexError) as error:
            raise DataError(
                f"{path}: the norm at {place} does not fit its convolution ({error}). It is cut short or another "
                "model's file. Fetch the file that its card names"
            ) from None
    return folded


class _Network(nn.Module):
    """Both halves under their published names."""

    def __init__(self, width: float, depth: float, depthwise: bool, classes: int) -> None:
        super().__init__()
        self.backbone = Pyramid(width, depth, depthwise=depthwise)
        self.head = Head(width, classes, depthwise=depthwise)


def _network(width: float, depth: float, depthwise: bool, classes: int) -> _Network:
    return _Network(width, depth, depthwise, classes)


def _sizes_with(stem: int, path: Path) -> tuple[float, float, bool]:
    """The published size with so many channels in its first convolution."""
    for sizes in SIZES.values():
        if int(sizes[0] * 64) == stem:
            return sizes
    allowed = ", ".join(f"{int(width * 64)} ({name})" for name, (width, _, _) in SIZES.items())
    raise DataError(
        f"{path}: its first convolution has {stem} channels. Allowed: {allowed}. It is another model's file, or "
        "another layout. Fetch the file that the model's card names"
    )


def _count_classes(bias: Tensor | None, path: Path) -> int:
    if bias is None or bias.dim() != 1:
        raise DataError(f"{path}: has no class outputs (head.cls_preds). Fetch the file that the model's card names")
    return len(bias)


def _places_in_order(network: _Network) -> dict[str, nn.Conv2d]:
    """Convolutions by name, in the order in which they run."""
    places: dict[str, nn.Conv2d] = {}
    names = {part: name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}

    def note(part: nn.Module, _inputs: object, _output: object) -> None:
        assert isinstance(part, nn.Conv2d)
        places[names[part]] = part

    hooks = [part.register_forward_hook(note) for part in names]
    network.head(network.backbone(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE, device="meta")))
    for hook in hooks:
        hook.remove()
    return places


def _onnx_convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every convolution of an ONNX graph, in its order, which is that of execution."""
    import onnx  # half a second, which only this layout pays

    if not path.is_file():
        raise DataError(f"{path}: no such file. Put the published weights there, or name their place")
    with foreign_bytes(path, "a whole ONNX file with its weights inside", "Fetch it again"):
        graph = onnx.load(path, load_external_data=False).graph
        inside = (tensor for tensor in graph.initializer if tensor.data_location != onnx.TensorProto.EXTERNAL)
        values = {tensor.name: tensor for tensor in inside}
        convolutions = [
            tuple(torch.from_numpy(onnx.numpy_helper.to_array(values[name]).copy()).float() for name in node.input[1:3])
            for node in graph.node
            if node.op_type == "Conv"
        ]
    if not convolutions or not all(_is_whole(*tensors) for tensors in convolutions):
        raise DataError(
            f"{path}: holds no convolutions that each have a weight and a bias. Allowed: an export of a trained YOLOX, "
            "whose norms are folded. Fetch the file that the model's card names"
        )
    return [(weight, bias) for weight, bias in convolutions]


def _is_whole(weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether a convolution has its four axes, and a bias of each of its outputs."""
    return weight.dim() == 4 and bias is not None and bias.shape == weight.shape[:1]
