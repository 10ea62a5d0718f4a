"""TransVG's checkpoints. Source: djiajunustc/TransVG, `models/` and `train.py`."""

from typing import Any

from deixis.core.published import count_layers
from models.backbones.detr import TO_OURS as DETR
from models.releases.release import Release, State
from models.text.bert import HEAD_WIDTH

HEADS = 8  # of both encoders; no tensor tells
CELLS = 400  # of the published input of 640 pixels
RULES = {
    r"^visumodel\.": "",
    **DETR,
    r"^textmodel\.": "",
    r"\.LayerNorm\.gamma$": ".LayerNorm.weight",
    r"\.LayerNorm\.beta$": ".LayerNorm.bias",
    r"^vl_pos_embed\.weight$": "position",
    r"^reg_token\.weight$": "answer",
    r"^visu_proj\.": "visual_project.",
    r"^text_proj\.": "text_project.",
    r"^vl_transformer\.encoder\.": "joint_encoder.",
    r"^bbox_embed\.layers\.0\.": "box.0.",
    r"^bbox_embed\.layers\.1\.": "box.2.",
    r"^bbox_embed\.layers\.2\.": "box.4.",
}


def configure(state: State) -> dict[str, Any]:
    """Sizes; the length of phrases is what the positions leave beside the cells of the published input."""
    width = state["input_project.weight"].shape[0]
    return {
        "compat": "released",
        "width": width,
        "heads": HEADS,
        "feedforward": state["joint_encoder.layers.0.feedforward.0.weight"].shape[0],
        "visual_layers": count_layers(state, "visual_encoder.layers."),
        "joint_layers": count_layers(state, "joint_encoder.layers."),
        "mirror_share": 0.5,
        "cnn": cnn_settings(state),
        "text": bert_settings(state) | {"length": max(2, len(state["position"]) - 1 - CELLS)},
    }


def cnn_settings(state: State) -> dict[str, Any]:
    """Sizes of the residual network: 50 or 101 layers, as released."""
    stages = range(1, 5)
    return {
        "layers": tuple(count_layers(state, f"cnn.layer{stage}.") for stage in stages),
        "widths": tuple(state[f"cnn.layer{stage}.0.conv1.weight"].shape[0] for stage in stages),
    }


def bert_settings(state: State) -> dict[str, Any]:
    """Sizes of BERT."""
    words, width = state["bert.embeddings.word_embeddings.weight"].shape
    return {
        "vocabulary": words,
        "width": width,
        "layers": count_layers(state, "bert.encoder.layer."),
        "heads": max(1, width // HEAD_WIDTH),
        "feedforward": state["bert.encoder.layer.0.intermediate.dense.weight"].shape[0],
    }


def flatten_answer(state: State) -> State:
    """The answer token is a table of one row there."""
    return state | ({"answer": state["answer"].flatten()} if "answer" in state else {})


TRANSVG = Release(
    role="student",
    method="transvg",
    supervision="true boxes",
    rules=RULES,
    configure=configure,
    words="word_pieces",
    reshape=flatten_answer,
)
