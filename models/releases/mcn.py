"""MCN's checkpoints of SimREC's framework. Source: luogen1996/SimREC, `simrec/models/mcn.py` and `heads/mcn_heads.py`.

The Keras release of MCN has another text encoder; its `.h5` files are not read.
"""

from typing import Any

from deixis.core.published import count_layers
from models.releases.blocks import (
    ATTENTION,
    FUSION,
    LAYERS,
    MASK_HEAD,
    PRODUCT,
    TEXT,
    fold_biases,
    text_settings,
)
from models.releases.release import Release, State

MOST_BLOCKS = 8  # of a stage of DarkNet-53
BACKBONE = {
    r"^visual_encoder\.module_list\.0\.": "backbone.body.stem.",
    **{rf"^visual_encoder\.module_list\.{2 * stage + 1}\.": f"backbone.body.stages.{stage}.0." for stage in range(5)},
    **{rf"^visual_encoder\.module_list\.{2 * stage + 2}\.": f"backbone.body.stages.{stage}." for stage in range(5)},
    **{  # the strided convolution is part of our stage, so that its blocks count from 1
        rf"^(backbone\.body\.stages\.\d)\.module_list\.{block}\.([01])\.": rf"\1.{block + 1}.body.\2."
        for block in range(MOST_BLOCKS)
    },
    **{
        rf"^visual_encoder\.module_list\.11\.module_list\.{block}\.{half}\.": f"backbone.tail.{2 * block + half}."
        for block in range(2)
        for half in range(2)
    },
    r"^visual_encoder\.module_list\.12\.": "backbone.tail.4.",
    r"^visual_encoder\.module_list\.13\.": "backbone.tail.5.",
}
PARTS = {
    r"^fusion_manner\.": "merge.",
    r"^multi_scale_manner\.": "fusion.",
    r"^det_garan\.": "box_attention.",
    r"^seg_garan\.": "mask_attention.",
    r"^head\.dconv\.": "boxes.",
    r"^head\.s_proj\.": "box_energy.",  # their names have it the other way round, their call as here
    r"^head\.d_proj\.": "mask_energy.",
    r"^head\.sconv\.": "mask.sconv.",
}


def configure(state: State) -> dict[str, Any]:
    """Sizes of the network."""
    stages = range(count_layers(state, "backbone.body.stages."))
    backbone = {
        "kind": "darknet",
        "stem": state["backbone.body.stem.0.weight"].shape[0],
        "widths": tuple(state[f"backbone.body.stages.{stage}.0.0.weight"].shape[0] for stage in stages),
        "blocks": tuple(count_layers(state, f"backbone.body.stages.{stage}.") - 1 for stage in stages),
    }
    return {
        "backbone": backbone,
        "text": text_settings(state),
        "fused_width": state["box_attention.query.weight"].shape[0],
        "aspp_width": state["mask.pooled.0.weight"].shape[0],
        "attention_orientation": "transposed",
        "mask_upsampling": "corners",
        "mask_suppression": "none",
        "resize_mode": "nearest",
    }


MCN = Release(
    role="student",
    method="mcn",
    supervision="true boxes and masks",
    rules={**PARTS, **BACKBONE, **TEXT, **FUSION, **MASK_HEAD, **LAYERS, **PRODUCT, **ATTENTION},
    configure=configure,
    unread=("box_attention.w_m.", "mask_attention.w_m.", "fusion.project.middle."),
    reshape=fold_biases,
)
