"""Checkpoints of TRIS's first step. Source: fawnliu/TRIS, `model/model_stage1.py` and `model/attn.py`."""

from typing import Any

from models.releases.clip_towers import PROMPT, TOWERS, towers_settings, turn_projection
from models.releases.release import Release, State

BANK = {
    r"^vis_project\.": "bank.pixel_project.",
    r"^lan_project\.": "bank.text_project.",
    r"^attn_fusion\.": "bank.prompt.",
    r"^logit_scale$": "bank.log_scale",
}


def configure(state: State) -> dict[str, Any]:
    """Sizes; the temperature is the file's, which some versions of the training script changed and others left."""
    return {
        "compat": "released",
        "towers": towers_settings(state),
        "width": state["bank.text_project.weight"].shape[0],
        "learns_temperature": True,
    }


TRIS = Release(
    role="map_teacher",
    method="tris",
    supervision="image-phrase pairs, grouped by object",
    rules={**BANK, **TOWERS, **PROMPT},
    configure=configure,
    words="byte_pairs",
    unread=("unread.",),
    reshape=turn_projection,
)
