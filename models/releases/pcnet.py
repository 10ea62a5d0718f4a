"""PCNet's checkpoints. Source: zaiquanyang/Boosting_WRIS, `model/model_prog_v5.py` and `model/attn.py`."""

import math
from typing import Any

import torch

from deixis.core.errors import DataError
from models.map_blocks.text_bank import SCALE
from models.releases.clip_towers import PROMPT, TOWERS, towers_settings, turn_projection
from models.releases.release import Release, State

STAGES = 3  # of the paper; the file has parts for one more, and no tensor tells how many were trained
PARTS = {
    r"^c4_vis_project\.": "pixel_project.",
    r"^global_lan_project\.": "text_project.",
    r"^attn_fusion_vl\.(\d)\.": r"stages.\1.prompt.",
}
TEMPERATURE = "logit_scale"


def configure(state: State) -> dict[str, Any]:
    """Sizes; a phrase with too few cues stands in for those that it lacks, as in the release."""
    return {
        "compat": "released",
        "shares_weights": True,
        "stages": STAGES,
        "cue_padding": "full",
        "towers": towers_settings(state),
        "width": state["text_project.weight"].shape[0],
    }


def reshape(state: State) -> State:
    """The projection turned round, and the temperature left out: the release never trains it.

    Raises:
        DataError: If the temperature is another than that of the release.
    """
    state = turn_projection(state)
    temperature = state.pop(TEMPERATURE, torch.tensor(math.log(SCALE)))
    if abs(float(temperature) - math.log(SCALE)) > 1e-3:
        raise DataError(
            f"{TEMPERATURE} is {float(temperature):.4f}; the release keeps it at {math.log(SCALE):.4f}, and our PCNet "
            "has no other. Allowed: the release's own checkpoints"
        )
    return state


PCNET = Release(
    role="map_teacher",
    method="pcnet",
    supervision="image-phrase pairs, grouped by object",
    rules={**PARTS, **TOWERS, **PROMPT},
    configure=configure,
    words="byte_pairs",
    unread=("unread.",),
    spare=lambda config: tuple(f"stages.{stage}." for stage in range(config.stages, 4)),
    reshape=reshape,
)
