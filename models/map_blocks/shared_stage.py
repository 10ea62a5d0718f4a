"""A stage of PCNet as its release has it: one set of projections for all attentions, and cues without a residual.

Source: Boosting_WRIS, `model/model_prog_v5.py` and `model/attn.py`. There, a cue reads its own image only, and keys are
reshaped where they should be transposed; here every image is read, and keys are transposed. Where a phrase is asked
alone, as in the release's evaluation, both are the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.map_blocks.referring_stage import StageState
from models.map_blocks.text_bank import BilateralPrompt


class SharedStage(nn.Module):
    """One stage.

    Args:
        share: How much of an update is added to what it updates.
    """

    def __init__(self, width: int, *, share: float = 0.1) -> None:
        super().__init__()
        self.prompt = BilateralPrompt(width)
        self.share = share

    def forward(self, state: StageState, cues: Float[Tensor, "images cues width"]) -> StageState:
        """As `ReferringStage`; phrases are scored as their image shows them, and go on as they were before."""
        pixels, texts = F.normalize(state.pixels, dim=-1), F.normalize(state.texts, dim=-1)
        places = pixels.transpose(1, 2)[..., None]
        texts = texts + self.share * self._read(texts, self._look(cues, places))
        unit = F.normalize(texts, dim=-1)
        shown = unit + self.share * self._look(unit, places)
        return StageState(pixels + self.share * self._tell(places, unit), texts, shown)

    def _look(
        self, texts: Float[Tensor, "images texts width"], places: Float[Tensor, "images width places 1"]
    ) -> Float[Tensor, "images texts width"]:
        """What each text finds in the pixels."""
        key, value = (layer(places)[..., 0] for layer in (self.prompt.pixel_key, self.prompt.pixel_value))
        looks = self.prompt.text_query(texts) @ key / texts.shape[-1] ** 0.5
        return self.prompt.text_output(looks.softmax(-1) @ value.transpose(1, 2))

    def _read(
        self, texts: Float[Tensor, "images texts width"], cues: Float[Tensor, "images cues width"]
    ) -> Float[Tensor, "images texts width"]:
        """What each text reads in the cues."""
        reads = self.prompt.text_query(texts) @ self.prompt.text_key(cues).transpose(1, 2) / texts.shape[-1] ** 0.5
        return self.prompt.text_output(reads.softmax(-1) @ self.prompt.text_value(cues))

    def _tell(
        self, places: Float[Tensor, "images width places 1"], texts: Float[Tensor, "images texts width"]
    ) -> Float[Tensor, "images places width"]:
        """What the texts tell each pixel."""
        query = self.prompt.pixel_query(places)[..., 0].transpose(1, 2)
        reads = query @ self.prompt.text_key(texts).transpose(1, 2) / texts.shape[-1] ** 0.5
        told = torch.einsum("ipt,itc->icp", reads.softmax(-1), self.prompt.text_value(texts))
        return self.prompt.pixel_output(told[..., None])[..., 0].transpose(1, 2)
