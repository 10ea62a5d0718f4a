"""WeakMCN's checkpoints. Source: MRUIL/WeakMCN, `models/weakmcn/` and `models/network_blocks.py`."""

from typing import Any

from models.releases.blocks import (
    ATTENTION,
    FUSION,
    LAYERS,
    MASK_HEAD,
    PRODUCT,
    TEXT,
    fusion_settings,
    text_settings,
)
from models.releases.refclip import DETECTOR, MATCHING
from models.releases.release import Carried, Release, State

PARTS = {
    r"^multi_scale_manner\.": "fusion.",
    r"^multi_scale_manner_sup\.": "mask_fusion.",
    r"^fusion_manner\.0\.": "merge.fine.",
    r"^fusion_manner\.1\.": "merge.middle.",
    r"^fusion_manner\.2\.": "merge.coarse.",
    r"^attention_manner\.w_m\.": "unread.",
    r"^attention_manner\.": "attention.",
    r"^seg_head\.": "mask.",
    r"^linear_router_rec\.": "box_mixture.router.",
    r"^linear_router_res\.": "mask_mixture.router.",
    r"^linear_dino_rec\.": "box_mixture.project.distilled_vit.",
    r"^linear_dino_res\.": "mask_mixture.project.distilled_vit.",
    r"^linear_sam_rec\.": "box_mixture.project.segmentation_vit.",
    r"^linear_sam_res\.": "mask_mixture.project.segmentation_vit.",
}


def configure(state: State) -> dict[str, Any]:
    """Sizes of both branches."""
    experts = ("distilled_vit", "segmentation_vit")  # in the order of the routers
    return {
        "compat": "released",
        "experts": {name: state[f"box_mixture.project.{name}.weight"].shape[1] for name in experts},
        "joint_width": state["matcher.anchor_project.weight"].shape[0],
        "mask_width": state["attention.query.weight"].shape[0],
        "aspp_width": state["mask.pooled.0.weight"].shape[0],
        "text": text_settings(state),
    } | fusion_settings(state)


WEAKMCN = Release(
    role="teacher",
    method="weakmcn",
    supervision="image-phrase pairs",
    rules={**TEXT, **PARTS, **FUSION, **MASK_HEAD, **LAYERS, **PRODUCT, **ATTENTION, **MATCHING},
    configure=configure,
    carried={
        **DETECTOR,
        "efficientsam.": Carried("segmentation_vit", "expert", "efficient_sam_vit"),
        "dino_model.": Carried("distilled_vit", "expert", "dinov2_vit"),
    },
)
