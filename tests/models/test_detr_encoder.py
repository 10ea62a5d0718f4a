"""The encoder against torch's own layers, and what padding, position and `asking` may do."""

import pytest
import torch
from torch import nn

from models.blocks.detr_encoder import DETREncoder, sine_position

with_either_norm = pytest.mark.parametrize("norm_first", [False, True])


def encoder(*, layers: int = 2, norm_first: bool) -> DETREncoder:
    torch.manual_seed(0)
    return DETREncoder(width=16, heads=2, feedforward=32, layers=layers, norm_first=norm_first).eval()


def tokens(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(seed))
    ignore = torch.zeros(3, 7, dtype=torch.bool)
    ignore[:, 5:] = True
    return x, ignore


@torch.no_grad()
@with_either_norm
def test_without_positions_it_is_torchs_encoder(norm_first):
    ours = encoder(norm_first=norm_first)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first)
    end = nn.LayerNorm(16) if norm_first else None
    reference = nn.TransformerEncoder(layer, 2, norm=end, enable_nested_tensor=False).eval()
    for mine, theirs in zip(ours.layers, reference.layers, strict=True):
        theirs.self_attn.load_state_dict(mine.attention.state_dict())
        theirs.linear1.load_state_dict(mine.feedforward[0].state_dict())
        theirs.linear2.load_state_dict(mine.feedforward[3].state_dict())
    x, ignore = tokens()
    actual, _ = ours(x, torch.zeros(7, 16), ignore)
    expected = reference(x, src_key_padding_mask=ignore)
    torch.testing.assert_close(actual[:, :5], expected[:, :5], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@with_either_norm
def test_asked_for_one_token_it_gives_what_it_gives_among_all(norm_first):
    model, (x, ignore), position = encoder(norm_first=norm_first), tokens(), torch.randn(7, 16)
    whole, attention = model(x, position, ignore)
    one, looked = model(x, position, ignore, asking=1)
    torch.testing.assert_close(one, whole[:, :1])
    torch.testing.assert_close(looked, attention[:, :1])


@torch.no_grad()
@with_either_norm
def test_ignored_tokens_change_nothing_and_positions_do(norm_first):
    model, (x, ignore), position = encoder(norm_first=norm_first), tokens(), torch.randn(7, 16)
    before, attention = model(x, position, ignore)
    assert (attention[:, :, 5:] == 0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, 7))
    other = x.clone()
    other[:, 5:] = 9.0
    torch.testing.assert_close(model(other, position, ignore)[0][:, :5], before[:, :5])
    assert not torch.allclose(model(x, 2 * position, ignore)[0][:, :5], before[:, :5], atol=1e-3)


@torch.no_grad()
def test_positions_do_not_enter_what_is_read():
    model, (x, ignore) = encoder(layers=1, norm_first=True), tokens()
    alike = x[:, :1].expand(-1, 7, -1)  # equal tokens: wherever one looks, it reads the same
    torch.testing.assert_close(
        model(alike, torch.randn(7, 16), ignore)[0], model(alike, torch.zeros(7, 16), ignore)[0], atol=1e-5, rtol=1e-4
    )


def test_sine_position_counts_valid_cells_only():
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[0, :2, :2], valid[1, 2:, 1:3] = True, True
    first, second = sine_position(valid, 8).view(2, 4, 4, 8)
    assert first.shape == (4, 4, 8)
    torch.testing.assert_close(first[:2, :2], second[2:, 1:3])


def test_sine_position_of_the_last_cell_is_a_whole_turn():
    code = sine_position(torch.ones(1, 5, 5, dtype=torch.bool), 8)[0, -1]
    torch.testing.assert_close(code[[0, 1, 4, 5]], torch.tensor([0.0, 1.0, 0.0, 1.0]), atol=1e-4, rtol=0)
