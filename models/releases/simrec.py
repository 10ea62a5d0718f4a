"""SimREC's checkpoints. Source: luogen1996/SimREC, `simrec/models/simrec.py` and `configs/common/models/simrec.py`."""

from typing import Any

from deixis.core.published import count_layers
from models.blocks.csp_darknet import TO_OURS
from models.releases.blocks import ATTENTION, FUSION, LAYERS, PRODUCT, TEXT, fold_biases, text_settings
from models.releases.release import Release, State

BACKBONE = {r"^visual_encoder\.": "", **TO_OURS, r"^(stem|stages|pyramid)\.": r"backbone.\1."}
HEAD = {
    r"^head\.stems\.0\.": "head.hidden.0.",
    r"^head\.reg_convs\.0\.0\.": "head.hidden.1.",
    r"^head\.reg_convs\.0\.1\.": "head.hidden.2.",
    r"^head\.reg_preds\.0\.": "head.box.",
    r"^head\.obj_preds\.0\.": "head.objectness.",
}
PARTS = {
    r"^fusion_manner\.0\.": "merge.fine.",
    r"^fusion_manner\.1\.": "merge.middle.",
    r"^fusion_manner\.2\.": "merge.coarse.",
    r"^multi_scale_manner\.": "fusion.",
    r"^attention_manner\.": "attention.",
}


def backbone_settings(state: State) -> dict[str, Any]:
    """Sizes of YOLOv5's backbone."""
    stages = range(count_layers(state, "backbone.stages."))
    return {
        "stem": state["backbone.stem.0.weight"].shape[0],
        "widths": tuple(state[f"backbone.stages.{stage}.0.0.weight"].shape[0] for stage in stages),
        "blocks": tuple(count_layers(state, f"backbone.stages.{stage}.1.blocks.") for stage in stages),
    }


def configure(state: State) -> dict[str, Any]:
    """Sizes; a model pretrained on several sets has longer phrases than 15 words, perhaps, which no tensor tells."""
    return {
        "backbone": backbone_settings(state),
        "text": text_settings(state),
        "fused_width": state["attention.query.weight"].shape[0],
        "head_width": state["head.box.weight"].shape[1],
        "attention_orientation": "transposed",
        "resize_mode": "nearest",
    }


SIMREC = Release(
    role="student",
    method="simrec",
    supervision="true boxes",
    rules={**HEAD, **PARTS, **BACKBONE, **TEXT, **FUSION, **LAYERS, **PRODUCT, **ATTENTION},
    configure=configure,
    unread=("attention.w_m.", "fusion.project.middle.", "fusion.project.fine."),
    reshape=fold_biases,
)
