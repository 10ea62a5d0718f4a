"""RefCLIP's checkpoints. Source: kingthreestones/RefCLIP, `models/RefCLIP/net.py` and `train.py`."""

from typing import Any

from models.releases.blocks import FUSION, LAYERS, TEXT, fusion_settings, text_settings
from models.releases.release import Carried, Release, State

MATCHING = {r"^linear_vs\.": "matcher.anchor_project.", r"^linear_ts\.": "matcher.text_project."}
DETECTOR = {"visual_encoder.": Carried("detector", "detector", "yolov3")}


def configure(state: State) -> dict[str, Any]:
    """Sizes; ReferItGame's model also keeps more cells and reads longer phrases, which no tensor tells."""
    joint = state["matcher.anchor_project.weight"].shape[0]
    return {"compat": "released", "joint_width": joint, "text": text_settings(state)} | fusion_settings(state)


REFCLIP = Release(
    role="teacher",
    method="refclip",
    supervision="image-phrase pairs",
    rules={**TEXT, r"^multi_scale_manner\.": "fusion.", **FUSION, **LAYERS, **MATCHING},
    configure=configure,
    carried=DETECTOR,
)
