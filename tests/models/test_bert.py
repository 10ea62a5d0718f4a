"""BERT against transformers' own: same weights under the same names, same answers."""

import pytest
import torch

from models.text.bert import BERT, BERTConfig


def pair(**sizes) -> tuple[BERT, torch.nn.Module]:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BERTConfig(**sizes)
    reference = BertModel(
        BertConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.feedforward,
        )
    ).eval()
    model = BERT(config, ()).eval()
    model.load_state_dict(reference.state_dict(), strict=True)
    return model, reference


@torch.no_grad()
def test_published_weights_give_the_published_states():
    model, reference = pair(vocabulary=50, width=24, layers=3, heads=4, feedforward=40)
    for parameter in reference.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    model.load_state_dict(reference.state_dict(), strict=True)
    tokens = torch.randint(1, 50, (4, 7))
    tokens[0, 4:] = 0
    valid = tokens != 0
    expected = reference(input_ids=tokens, attention_mask=valid.long()).last_hidden_state
    torch.testing.assert_close(model(tokens, valid)[valid], expected[valid], atol=1e-5, rtol=1e-4)


def test_size_of_bert_base_uncased():
    with torch.device("meta"):
        model = BERT(BERTConfig(), ())
    assert sum(p.numel() for p in model.parameters()) == 109_482_240


def test_starts_as_published():
    _, reference = pair(vocabulary=400, width=48, layers=2, heads=4, feedforward=96)
    fresh = BERT(BERTConfig(vocabulary=400, width=48, layers=2, heads=4, feedforward=96), ())
    for name, expected in reference.state_dict().items():
        initial = fresh.state_dict()[name]
        if 1 < expected.numel() < 2000 and expected.std() > 0:
            continue  # too few random values to tell two spreads apart
        assert float(initial.std()) == pytest.approx(float(expected.std()), abs=2e-3), name
        assert float(initial.mean()) == pytest.approx(float(expected.mean()), abs=2e-3), name
