"""The two layouts in which CLIP's weights are published, brought to one: OpenAI's names, which OpenCLIP kept."""

import re
from pathlib import Path

import torch
from torch import Tensor

from deixis.core.published import read_tensors, renamed

TO_OPENAI = {  # transformers' names
    r"^vision_model\.embeddings\.class_embedding$": "visual.class_embedding",
    r"^vision_model\.embeddings\.position_embedding\.weight$": "visual.positional_embedding",
    r"^vision_model\.embeddings\.patch_embedding\.": "visual.conv1.",
    r"^vision_model\.pre_layrnorm\.": "visual.ln_pre.",
    r"^vision_model\.post_layernorm\.": "visual.ln_post.",
    r"^vision_model\.encoder\.layers\.": "visual.transformer.resblocks.",
    r"^text_model\.embeddings\.token_embedding\.": "token_embedding.",
    r"^text_model\.embeddings\.position_embedding\.weight$": "positional_embedding",
    r"^text_model\.encoder\.layers\.": "transformer.resblocks.",
    r"^text_model\.final_layer_norm\.": "ln_final.",
    r"\.layer_norm([12])\.": r".ln_\1.",
    r"\.mlp\.fc1\.": ".mlp.c_fc.",
    r"\.mlp\.fc2\.": ".mlp.c_proj.",
    r"\.self_attn\.": ".attn.",
    r"^vision_model\.": "visual.",  # whatever is left, so that the check sees it
    r"^text_model\.": "",
}
PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}


def read_clip(path: Path) -> dict[str, Tensor]:
    """All of a published CLIP by OpenAI's names; projections are [width, shared width]."""
    tensors = {name: t for name, t in read_tensors(path).items() if not name.endswith("position_ids")}
    if not any(name.startswith(("vision_model.", "text_model.")) for name in tensors):
        return tensors
    tensors = renamed(tensors, TO_OPENAI)
    for theirs, name in PROJECTIONS.items():
        if theirs in tensors:
            tensors[name] = tensors.pop(theirs).T.contiguous()
    return _joined_attention(tensors)


def _joined_attention(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value as the three parts of one matrix."""
    joined = {}
    for name, tensor in tensors.items():
        match = re.match(r"(.*\.attn\.)([qkv])_proj\.(weight|bias)$", name)
        if match is None:
            joined[name] = tensor
        elif match[2] == "q":
            parts = [tensors.get(f"{match[1]}{part}_proj.{match[3]}") for part in "qkv"]
            if all(part is not None for part in parts):  # a part that is missing shows as a missing whole
                joined[f"{match[1]}in_proj_{match[3]}"] = torch.cat(parts)
    return joined
