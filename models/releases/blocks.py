"""Names of the parts that the releases of RefCLIP's and SimREC's family share, and the sizes that they tell."""

import re
from typing import Any

from deixis.core.published import count_layers
from models.releases.release import State

BIAS = re.compile(r"((?:merge\b.*\.(?:image|text)|\w*attention\.output))\.0\.bias")
HEADS = 8  # of the text encoder's attention, in every release; no tensor tells

TEXT = {
    r"^lang_encoder\.": "text_encoder.",
    r"\.lstm\.": ".gru.",
    r"\.sa_list\.": ".layers.",
    r"\.mhatt\.linear_q\.": ".query.",
    r"\.mhatt\.linear_k\.": ".key.",
    r"\.mhatt\.linear_v\.": ".value.",
    r"\.mhatt\.linear_merge\.": ".merge.",
    r"\.ffn\.mlp\.fc\.linear\.": ".feedforward.0.",
    r"\.ffn\.mlp\.linear\.": ".feedforward.3.",
    r"(layers\.\d+)\.norm1\.": r"\1.norm_attention.",
    r"(layers\.\d+)\.norm2\.": r"\1.norm_feedforward.",
    r"\.att_flat\.mlp\.fc\.linear\.": ".pool.0.",
    r"\.att_flat\.mlp\.linear\.": ".pool.3.",
    r"\.att_flat\.linear_merge\.": ".project.",
}
FUSION = {
    r"\.up_modules\.0\.1\.": ".up_fine.0.",
    r"\.up_modules\.0\.2\.": ".up_fine.1.",
    r"\.up_modules\.1\.1\.": ".up_middle.0.",
    r"\.up_modules\.1\.2\.": ".up_middle.1.",
    r"\.down_modules\.0\.1\.": ".down_middle.0.",
    r"\.down_modules\.0\.2\.": ".down_middle.1.",
    r"\.down_modules\.1\.1\.": ".down_coarse.0.",
    r"\.down_modules\.1\.2\.": ".down_coarse.1.",
    r"\.top_proj\.": ".project.coarse.",
    r"\.mid_proj\.": ".project.middle.",
    r"\.bot_proj\.": ".project.fine.",
}
PRODUCT = {r"\.v_proj\.": ".image.", r"\.q_proj\.": ".text.", r"^(merge\b.*)\.norm\.": r"\1.after."}
ATTENTION = {  # GARAN
    r"\.w_qs\.": ".query.",
    r"\.w_kc\.": ".collect_key.",
    r"\.w_kd\.": ".diffuse_key.",
    r"\.w_vs\.": ".value.",
    r"\.w_o\.": ".output.0.",
    r"\.layer_norm\.": ".output.1.",
}
MASK_HEAD = {  # ASPP
    r"\.sconv\.0\.conv([0-3])\.": r".branches.\1.",
    r"\.sconv\.0\.conv4\.": ".pooled.",
    r"\.sconv\.0\.out_proj\.": ".output.",
}
LAYERS = {r"\.conv\.": ".0.", r"\.batch_norm\.": ".1."}  # of a convolution with its BatchNorm


def text_settings(state: State) -> dict[str, Any]:
    """Sizes of the text encoder; its length is not in the file."""
    prefix = "text_encoder."
    feedforward = state.get(f"{prefix}layers.0.feedforward.0.weight")
    return {
        "word_width": state[f"{prefix}embedding.weight"].shape[1],
        "width": state[f"{prefix}project.weight"].shape[0],
        "heads": HEADS,
        "layers": count_layers(state, f"{prefix}layers."),
        "pool_hidden": state[f"{prefix}pool.0.weight"].shape[0],
    } | ({} if feedforward is None else {"feedforward": feedforward.shape[0]})


def fusion_settings(state: State, prefix: str = "fusion.") -> dict[str, Any]:
    """Width of what is fused, and channels of the coarse, middle and fine maps that go in."""
    width = state[f"{prefix}project.coarse.0.weight"].shape[0]
    half = width // 2
    channels = (
        state[f"{prefix}up_middle.0.0.weight"].shape[1],
        state[f"{prefix}up_fine.0.0.weight"].shape[1] - half,
        state[f"{prefix}down_middle.0.0.weight"].shape[1] - half,
    )
    return {"fused_width": width, "detector_channels": channels}


def fold_biases(state: State) -> State:
    """Biases before BatchNorm, which our students do not have, into its running means: the same in evaluation."""
    folded = dict(state)
    for name in state:
        if found := BIAS.fullmatch(name):
            mean = f"{found[1]}.1.running_mean"
            folded[mean] = folded[mean] - folded.pop(name)
    return folded
