"""The detector weights that RefCLIP, DViN and WeakMCN share, as published, into our YOLOv3.

The published network is one flat list of modules, whose numbers are in the names: backbone 0-10, neck 11-18, 20-27 and
29-36, heads 19, 28 and 37. Layers without weights (pooling, DropBlock, upsampling) have numbers too. The file is the
detector's own state dictionary; in a checkpoint of a whole teacher the same names follow `visual_encoder.`, and the
teacher's other tensors are left aside. Facts: RefCLIP's `models/visual_encoder.py`, `models/network_blocks.py` and
`train.py`. The number of classes is read from the file: 80 on COCO, 100 on Visual Genome (for ReferItGame).

One value is decoded differently: our boxes limit each log scale to 4, a factor of 55, so that every output is finite.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from deixis.core.published import check_names, read_tensors

INSIDE_TEACHER = "visual_encoder."
REMEDY = (
    "Where you trust it, keep its tensors alone: "
    "python -c \"import torch; torch.save(torch.load('IN', weights_only=False)['state_dict'], 'OUT')\""
)
FIRST_HEAD = "module_list.19"
COUNTERS = ".num_batches_tracked"  # of BatchNorm; not read in evaluation, and absent from files of old releases

# Ours -> published: each a convolution with its BatchNorm. Residual blocks and heads follow rules, below.
PLACES = {
    "backbone.stem": "0",
    **{f"backbone.stages.{stage}.0": f"{2 * stage + 1}" for stage in range(5)},
    "neck.coarse_to_half.0": "11.module_list.0.0",
    "neck.coarse_to_half.1": "11.module_list.0.1",
    "neck.coarse_to_half.2": "12",
    "neck.coarse_to_half.4": "14",
    "neck.coarse_to_half.5": "15",
    "neck.coarse_to_half.6": "17",
    "neck.coarse_out": "18",
    "neck.grow_middle": "20",
    "neck.middle_to_half.0": "22",
    "neck.middle_to_half.1": "23",
    "neck.middle_to_half.2": "25.module_list.0.0",
    "neck.middle_to_half.3": "25.module_list.0.1",
    "neck.middle_to_half.4": "26",
    "neck.middle_out": "27",
    "neck.grow_fine": "29",
    "neck.fine_to_half.0": "31",
    "neck.fine_to_half.1": "32",
    "neck.fine_to_half.2": "34.module_list.0.0",
    "neck.fine_to_half.3": "34.module_list.0.1",
    "neck.fine_to_half.4": "35",
    "neck.fine_out": "36",
}
HEADS = ("19", "28", "37")  # coarse to fine
HEAD_PARTS = {
    "guide.": "guide_wh.",
    "offset.": "Feature_adaption.conv_offset.",
    "adapt_": "Feature_adaption.dconv.",
    "output.": "conv.",
}
LAYERS = {"0": "conv", "1": "batch_norm"}
RESIDUAL = re.compile(r"backbone\.stages\.(\d+)\.(\d+)\.body\.([01])\.([01])\.(\w+)")
HEAD = re.compile(r"heads\.(\d)\.(guide\.|offset\.|adapt_|output\.)(\w+)")


def published_name(name: str) -> str:
    """What the release calls a tensor of `YOLOv3`."""
    if inside := RESIDUAL.fullmatch(name):
        stage, block, half, layer, value = inside.groups()
        return f"module_list.{2 * int(stage) + 2}.module_list.{int(block) - 1}.{half}.{LAYERS[layer]}.{value}"
    if inside := HEAD.fullmatch(name):
        scale, part, value = inside.groups()
        return f"module_list.{HEADS[int(scale)]}.{HEAD_PARTS[part]}{value}"
    place, layer, value = name.rsplit(".", 2)
    return f"module_list.{PLACES[place]}.{LAYERS[layer]}.{value}"


def read_detector(path: Path) -> dict[str, Tensor]:
    """The published detector's tensors under its own names, taken out of a whole teacher where the file is one's."""
    tensors = read_tensors(path, remedy=REMEDY)
    inside = {name: tensor for name, tensor in tensors.items() if name.startswith(INSIDE_TEACHER)}
    return {name.removeprefix(INSIDE_TEACHER): tensor for name, tensor in (inside or tensors).items()}


def count_classes(tensors: dict[str, Tensor], *, boxes_per_cell: int, default: int) -> int:
    """From the outputs of the first head; `default` where it says nothing, and the report will tell."""
    bias = tensors.get(f"{FIRST_HEAD}.conv.bias")
    per_box = bias.numel() / boxes_per_cell if bias is not None else 0
    return int(per_box) - 5 if per_box > 5 and per_box.is_integer() else default


def with_our_names(tensors: dict[str, Tensor], ours: dict[str, Tensor], *, path: Path, what: str) -> dict[str, Tensor]:
    """Published tensors under the names, and of the types, of `ours`, the state of our detector of that size.

    Raises:
        DataError: If one is lacking, there is another, or one has another shape; says which.
    """
    names = {name: published_name(name) for name in ours}
    for name, published in names.items():
        if name.endswith(COUNTERS):
            tensors.setdefault(published, torch.zeros(ours[name].shape, dtype=ours[name].dtype))
    check_names(tensors, {published: ours[name] for name, published in names.items()}, path=path, what=what)
    return {name: tensors[published].to(ours[name].dtype) for name, published in names.items()}
