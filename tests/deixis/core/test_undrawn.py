"""Models that are built to be loaded draw no random numbers, and hold what was loaded."""

import pytest
import torch
from torch import nn

from deixis.core.undrawn import Undrawn
from models.text.bert import BERT, BERTConfig

TINY = BERTConfig(vocabulary=50, width=16, layers=1, heads=2, feedforward=16)


@pytest.mark.parametrize(
    "build",
    [
        lambda: BERT(TINY, ()),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)),
        lambda: nn.GRU(4, 4),
        lambda: nn.TransformerEncoderLayer(8, 2, 8),
    ],
)
def test_nothing_is_drawn_and_everything_is_loaded(build):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = build()
    assert not torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(before)
    with Undrawn():
        undrawn = build()
    assert torch.equal(torch.get_rng_state(), before)
    undrawn.load_state_dict(drawn.state_dict(), strict=True)
    for name, tensor in drawn.state_dict().items():
        assert torch.equal(undrawn.state_dict()[name], tensor)
    assert not torch.equal(torch.rand(2), torch.zeros(2))  # outside of it, as ever


def test_models_without_memory_can_be_built_so():
    with torch.device("meta"), Undrawn():
        assert BERT(TINY, ()).embeddings.word_embeddings.weight.is_meta
