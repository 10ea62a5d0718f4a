"""Phrases in the space that a published CLIP shares with images, where its view of boxes is compared with them.

The image tower looks at the boxes when features are extracted (`models.image_text.crops`); this is the other half.
"""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.checkpoints import load_state
from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.core.records import described_file, read_json
from deixis.language.tokens import encode
from deixis.types import CLIP_CROPS
from models.text.clip_text import CLIPText, CLIPTextConfig

MADE_BY = f"import_weights@{CLIP_CROPS}"
TOWER = "text_encoder."  # in the state of the whole model


@dataclass(frozen=True, config=STRICT)
class CLIPPhrasesConfig:
    """Sizes; the defaults are ViT-B/32's."""

    temperature: float = 0.01  # that CLIP was trained to
    text: CLIPTextConfig = field(default_factory=lambda: CLIPTextConfig(width=512, length=32))


class CLIPPhrases(nn.Module):
    """A frozen CLIP's text tower."""

    def __init__(self, config: CLIPPhrasesConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.text = CLIPText(config.text, vocabulary)

    def start_from(self, weights: Path) -> None:
        """Take the tower of the CLIP among the frozen models.

        Raises:
            DataError: If there is none, or it is of another size.
        """
        folder = weights / CLIP_CROPS
        state, _ = load_state(described_file(folder, made_by=MADE_BY))
        tower = {name.removeprefix(TOWER): tensor for name, tensor in state.items() if name.startswith(TOWER)}
        own = {name: tensor.shape for name, tensor in self.text.state_dict().items()}
        unlike = sorted(
            {name for name, tensor in tower.items() if own.get(name) != tensor.shape} | (own.keys() - tower)
        )
        if unlike:
            raise DataError(
                f"{folder}: its text tower and the one that teachers.zero_shot.model.crops.text states differ, the "
                f"first in {unlike[0]}. Write the sizes of {folder}/config.json there, or import a CLIP with both "
                f"towers as {CLIP_CROPS}; then run: dvc repro"
            )
        self.text.load_state_dict(tower)

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """Vectors of length one."""
        tokens = encode(texts, self.text.vocabulary, self.config.text.length).to(self.text.positions.device)
        return F.normalize(self.text(tokens).flat, dim=-1)


def read_clip_pieces(weights: Path) -> list[str]:
    """The vocabulary of the CLIP among the frozen models."""
    card = read_json(weights / CLIP_CROPS / "config.json", made_by=MADE_BY)
    if card.get("kind") != "clip_image_text" or "vocabulary" not in card:
        raise DataError(
            f"{weights / CLIP_CROPS}: holds no CLIP with both towers. Allowed: an import of a card of the kind "
            f"clip_image_text, such as clip-text-vit-b-32. Name it under imports.{CLIP_CROPS} in params.yaml, then "
            f"run: dvc repro {MADE_BY}"
        )
    return card["vocabulary"]
