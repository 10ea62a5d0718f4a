"""CLIP's ResNet and text transformer, which the checkpoints of TRIS and PCNet hold as `backbone`."""

from typing import Any

from deixis.core.published import count_layers
from models.releases.release import State
from models.text.clip_text import HEAD_WIDTH, TO_OURS

TO_TOWERS = {
    r"^backbone\.logit_scale$": "unread.logit_scale",  # CLIP's own
    r"^backbone\.visual\.attnpool\.": "unread.attnpool.",
    r"^backbone\.visual\.": "tower.backbone.",
    r"^backbone\.": "",
    **TO_OURS,
    r"^(positions$|embedding\.|norm\.|project\.weight$|layers\.)": r"tower.text_encoder.\1",
}
TOWERS = TO_TOWERS | {r"^tower\.": "towers."}  # of a teacher
STUDENT_TOWERS = TO_TOWERS | {r"^tower\.": ""}
PROMPT = {  # of pixels and phrases for each other, what asks, is asked, and is told
    r"\.v_proj1\.": ".pixel_query.",
    r"\.v_proj2\.": ".pixel_key.",
    r"\.v_proj3\.": ".pixel_value.",
    r"\.t_proj1\.": ".text_query.",
    r"\.t_proj2\.": ".text_key.",
    r"\.t_proj3\.": ".text_value.",
    r"\.v_output\.": ".pixel_output.",
    r"\.t_output\.0\.": ".text_output.",
}


def towers_settings(state: State, prefix: str = "towers.") -> dict[str, Any]:
    """Sizes of both towers."""
    words, inner = state[f"{prefix}text_encoder.embedding.weight"].shape
    text = {
        "kind": "clip_text",
        "width": state[f"{prefix}text_encoder.project.weight"].shape[0],
        "inner_width": inner,
        "layers": count_layers(state, f"{prefix}text_encoder.layers."),
        "heads": max(1, inner // HEAD_WIDTH),
        "tokens": words,
        "positions": state[f"{prefix}text_encoder.positions"].shape[0],
    }
    layers = tuple(count_layers(state, f"{prefix}backbone.layer{stage}.") for stage in range(1, 5))
    width = state[f"{prefix}backbone.layer1.0.conv1.weight"].shape[0]
    return {"backbone": {"kind": "clip_resnet", "layers": layers, "width": width}, "text": text}


def turn_projection(state: State) -> State:
    """The text projection is stored the other way round."""
    name = next((name for name in state if name.endswith("text_encoder.project.weight")), None)
    return state if name is None else state | {name: state[name].T.contiguous()}
