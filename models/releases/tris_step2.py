"""Checkpoints of TRIS's second step. Source: fawnliu/TRIS, `model/model_stage2.py` and `model/attn.py`."""

import re
from typing import Any

from models.releases.clip_towers import STUDENT_TOWERS, towers_settings, turn_projection
from models.releases.release import Release, State

LEVELS = (4, 3, 2, 1)  # as the release numbers them, from coarse to fine
WORD_LAYER = re.compile(r"attention\.\d\.(?:key|value)\.weight")
PARTS = {
    **{rf"^attention{level}\.": f"attention.{place}." for place, level in enumerate(LEVELS[:3])},
    **{rf"^reduced_c{level}\.": f"decoder.reduce.{place}." for place, level in enumerate(LEVELS)},
    **{rf"^output{level}\.": f"decoder.grow.{place}." for place, level in enumerate(LEVELS)},
    **{rf"^final_seg{level}\.": f"decoder.heads.{place}." for place, level in enumerate(LEVELS)},
    r"^(decoder\..*)\.conv\.": r"\1.0.",
    r"^(decoder\..*)\.bn\.": r"\1.1.",
    r"^(decoder\..*)\.relu\.": r"\1.2.",
    r"\.Wk\.": ".key.",
    r"\.Wv\.": ".value.",
    r"\.Wq\.": ".query.0.",
    r"\.ins_q\.": ".query.1.",
    r"\.Ww\.": ".gate.0.",
    r"\.ins_w\.": ".gate.1.",
    r"\.Wm\.": ".look.0.",
    r"\.Wo\.": ".output.0.",
}


def configure(state: State) -> dict[str, Any]:
    """Sizes of towers and decoder."""
    reduced = [state[f"decoder.reduce.{place}.0.weight"].shape[0] for place in range(4)]
    last = state["decoder.grow.3.0.weight"].shape[0]
    hidden = [state[f"decoder.heads.{place}.0.0.weight"].shape[0] for place in range(4)]
    return towers_settings(state, "") | {"published_widths": (*reduced, last), "published_heads": tuple(hidden)}


def reshape(state: State) -> State:
    """Words go through convolutions of length one there, and through linear layers here."""
    words = {name: tensor.squeeze(-1) for name, tensor in state.items() if WORD_LAYER.fullmatch(name)}
    return turn_projection(state | words)


TRIS_STEP2 = Release(
    role="student",
    method="tris",
    supervision="masks from the response maps of TRIS's first step",
    rules={**PARTS, **STUDENT_TOWERS},
    configure=configure,
    words="byte_pairs",
    unread=("unread.",),
    reshape=reshape,
)
