"""DViN's checkpoints. Source: XxFChen/DViN, `models/DViR/net.py`.

The order of the experts is the router's; three of the four share one projection.
"""

from typing import Any

from models.releases.blocks import FUSION, LAYERS, TEXT, fusion_settings, text_settings
from models.releases.refclip import DETECTOR, MATCHING
from models.releases.release import Carried, Release, State

EXPERTS = {"contrastive_vit": 768, "distilled_vit": 768, "segmentation_vit": 256, "contrastive_convnet": 768}
ROUTING = {
    r"^linear\.": "project.width_768.",
    r"^linear_sam\.": "project.width_256.",
    r"^linear_router\.": "router.",
    r"^linear_decoder\.": "text_decoder.",
    r"^projector_expert\.2\.": "expert_code.0.",
    r"^projector_expert\.4\.": "expert_code.2.",
    r"^projector_yolo\.2\.": "detector_code.0.",
    r"^projector_yolo\.4\.": "detector_code.2.",
}


def configure(state: State) -> dict[str, Any]:
    """Sizes; ReferItGame's model also keeps more cells and reads longer phrases, which no tensor tells."""
    return {
        "compat": "released",
        "experts": EXPERTS,
        "joint_width": state["matcher.anchor_project.weight"].shape[0],
        "code_width": state["expert_code.2.weight"].shape[0],
        "text": text_settings(state),
    } | fusion_settings(state)


DVIN = Release(
    role="teacher",
    method="dvin",
    supervision="image-phrase pairs",
    rules={**TEXT, r"^multi_scale_manner\.": "fusion.", **FUSION, **LAYERS, **MATCHING, **ROUTING},
    configure=configure,
    carried={
        **DETECTOR,
        "clip_model.vision_tower.": Carried("contrastive_vit", "expert", "clip_vit"),
        "dino_model.": Carried("distilled_vit", "expert", "dinov2_vit"),
        "efficientsam.": Carried("segmentation_vit", "expert", "efficient_sam_vit"),
        "convnext_model.": Carried("contrastive_convnet", "expert", "clip_convnext"),
    },
)
