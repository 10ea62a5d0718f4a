"""The text encoder: size, its own layer norm, what padding may not change."""

import pytest
import torch

from models.text.gru_attention import GRUAttentionEncoder, ReleasedLayerNorm, TextConfig
from tests.factories import TINY_TEXT, VOCABULARY


def trainable(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def encoder(**changes):
    torch.manual_seed(0)
    return GRUAttentionEncoder(TextConfig(**{**vars(TINY_TEXT), **changes}), VOCABULARY).eval()


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return GRUAttentionEncoder(TextConfig(), VOCABULARY)


def test_layer_norm_divides_by_the_unbiased_deviation():
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    normed = ReleasedLayerNorm(4)(x)
    assert normed[0].tolist() == pytest.approx([-1.161894, -0.387298, 0.387298, 1.161894], abs=2e-6)
    assert torch.nn.LayerNorm(4)(x)[0, 0].item() == pytest.approx(-1.341635, abs=2e-6)


def test_layer_norm_of_a_constant_is_the_bias():
    norm = ReleasedLayerNorm(4)
    torch.nn.init.constant_(norm.bias, 0.5)
    assert norm(torch.full((2, 4), 7.0)).tolist() == [[0.5] * 4] * 2


def test_layer_norm_adds_epsilon_to_the_deviation():
    x = torch.tensor([[0.0, 2e-6]], dtype=torch.float64)
    normed = ReleasedLayerNorm(2).double()(x)
    assert normed[0, 1].item() == pytest.approx(1e-6 / (2**0.5 * 1e-6 + 1e-6))


def test_size_of_the_published_encoder(published):
    assert trainable(published) == 11_101_697
    assert trainable(published.gru) == 1_250_304
    assert [trainable(layer) for layer in published.layers] == [3_152_384] * 3
    assert trainable(published.pool) + trainable(published.project) == 394_241


def test_word_table_is_frozen():
    model = encoder().train()
    assert not model.embedding.weight.requires_grad
    assert (model.embedding.weight[:2] == 0).all()
    model(torch.tensor([[3, 4, 0, 0, 0, 0]])).flat.sum().backward()
    assert model.embedding.weight.grad is None


def test_shapes():
    encoded = encoder()(torch.tensor([[3, 4, 5, 0, 0, 0], [3, 4, 5, 6, 7, 3]]))
    assert encoded.flat.shape == (2, 16)
    assert encoded.words.shape == (2, 6, 16)
    assert encoded.is_pad.tolist() == [[False] * 3 + [True] * 3, [False] * 6]


@pytest.mark.parametrize("layers", [1, 3])
@torch.no_grad()
def test_padding_is_masked_in_attention_and_pooling(layers):
    model = encoder(layers=layers)
    beside_a_long_one, alone = model(torch.tensor([[3, 6, 4, 0, 0], [3, 6, 4, 7, 5]])), model(torch.tensor([[3, 6, 4]]))
    torch.testing.assert_close(beside_a_long_one.words[:1, :3], alone.words)  # attention: the GRU has one direction
    torch.testing.assert_close(beside_a_long_one.flat[:1], alone.flat)  # pooling


@torch.no_grad()
def test_what_pads_every_phrase_is_cut_off():
    padded, cut = encoder()(torch.tensor([[3, 6, 4, 0, 0, 0]])), encoder()(torch.tensor([[3, 6, 4]]))
    torch.testing.assert_close(padded, cut, atol=0, rtol=0)
    assert encoder(bidirectional=True)(torch.tensor([[3, 6, 4, 0, 0, 0]])).words.shape == (1, 6, 16)


@torch.no_grad()
def test_words_see_each_other_and_their_order():
    model = encoder()
    first, second, swapped = model(torch.tensor([[3, 6, 4], [3, 6, 5], [6, 3, 4]])).flat
    assert (first - second).abs().max() > 1e-3
    assert (first - swapped).abs().max() > 1e-4


@torch.no_grad()
def test_first_word_attends_to_the_last_though_the_gru_runs_forward():
    words = encoder()(torch.tensor([[3, 6, 4], [3, 6, 5]])).words
    assert (words[0, 0] - words[1, 0]).abs().max() > 1e-4


@torch.no_grad()
def test_empty_phrase_is_finite():
    assert torch.isfinite(encoder()(torch.zeros(1, 6, dtype=torch.long)).flat).all()


@torch.no_grad()
def test_phrases_of_a_batch_do_not_mix():
    model, tokens = encoder(), torch.tensor([[3, 4, 5, 0, 0, 0], [6, 7, 0, 0, 0, 0], [3, 3, 3, 3, 3, 3]])
    for row in range(3):
        torch.testing.assert_close(model(tokens[row : row + 1]).flat[0], model(tokens).flat[row])


def test_dropout_acts_in_training_only():
    model, tokens = encoder(dropout=0.5), torch.tensor([[3, 4, 5, 0, 0, 0]])
    assert torch.equal(model(tokens).flat, model(tokens).flat)
    model.train()
    assert not torch.equal(model(tokens).flat, model(tokens).flat)
