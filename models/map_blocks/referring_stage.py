"""PCNet's conditional referring module: one stage in which a cue sharpens the phrase and the phrase the image.

Four steps: every cue of the batch reads the pixels of each image; each phrase reads the cues; each image reads the
phrases; dot products of pixels and phrases are the stage's scores. Source: PCNet section 3.2. The release reshapes keys
where it should transpose them, shares weights between the three attentions, lets a cue read its own image only, and
drops the residual of the cues; here the paper's text is followed. `shared_stage.py` has the release's.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# How cues reach phrases (PCNet table 4). vta: cues read the pixels first; tta: phrases attend to all cues; add: the
# phrase's own cue is added to it.
Modulation = Literal["add", "tta", "vta_add", "vta_tta"]


class Attention(nn.Module):
    """Single-head attention with its own three projections and an output layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self, query: Float[Tensor, "*batch queries width"], memory: Float[Tensor, "*batch keys width"]
    ) -> Float[Tensor, "*batch queries width"]:
        """The update, not yet added."""
        reads = self.query(query) @ self.key(memory).transpose(-1, -2) / query.shape[-1] ** 0.5
        return self.output(reads.softmax(-1) @ self.value(memory))


class StageState(NamedTuple):
    """What passes from stage to stage: pixels of each image, and each phrase as each image shows it."""

    pixels: Float[Tensor, "images places width"]
    texts: Float[Tensor, "images texts width"]
    shown: Float[Tensor, "images texts width"] | None = None  # what pixels are compared with; without it, the texts


class ReferringStage(nn.Module):
    """One stage.

    Args:
        share: How much of an update, or of an added cue, is added to what it updates.
        modulation: Which of the attentions of cues and phrases there are; a missing one has no layers.
    """

    def __init__(self, width: int, *, share: float = 0.1, modulation: Modulation = "vta_tta") -> None:
        super().__init__()
        self.cue_reads_pixels = Attention(width) if modulation.startswith("vta") else None
        self.text_reads_cues = Attention(width) if modulation.endswith("tta") else None
        self.pixel_reads_texts = Attention(width)
        self.share = share

    def forward(self, state: StageState, cues: Float[Tensor, "images cues width"]) -> StageState:
        """Every phrase may read every cue: its own says what it is, those of others what it is not.

        Args:
            cues: One per phrase, of unit length, as each image is asked about it.
        """
        grounded = cues if self.cue_reads_pixels is None else cues + self.cue_reads_pixels(cues, state.pixels)
        update = grounded if self.text_reads_cues is None else self.text_reads_cues(state.texts, grounded)
        texts = F.normalize(state.texts + self.share * update, dim=-1)
        pixels = state.pixels + self.share * self.pixel_reads_texts(state.pixels, texts)
        return StageState(pixels, texts)


def stage_scores(state: StageState, scale: float) -> Float[Tensor, "images places texts"]:
    """Scaled dot products of pixels and phrases."""
    texts = state.texts if state.shown is None else state.shown
    return scale * torch.einsum("ipc,itc->ipt", state.pixels, texts)
