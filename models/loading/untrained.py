"""Teachers that are not trained: their checkpoints come of frozen models alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deixis.core.checkpoints import save_checkpoint
from deixis.roles import ZeroShotTeacher, module_of

UNTRAINED = {
    "training": {"steps": 0, "last_ema_decay": 0.0},
    "selection": "none: nothing is trained",
    "supervision": "none: class words, words of place, colours and size",
}


def save_untrained(
    model: ZeroShotTeacher, out: Path, *, weights: Path, device: torch.device, card: Mapping[str, Any]
) -> None:
    """Take what the teacher knows from the frozen models, and write its checkpoint."""
    model.start_from(weights, device)
    save_checkpoint(module_of(model), out, config=dict(card) | UNTRAINED)
