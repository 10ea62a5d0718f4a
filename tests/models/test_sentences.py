"""Meanings of short texts: what the published recipe says, whatever stands beside a text; sizes from config.json."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from deixis.core.errors import DataError
from deixis.language.tokens import encode
from models.text.bert import BERT, BERTConfig
from models.text.sentences import REMEMBERED, SentenceEncoder

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "of", "red", "##dish", "dog", "cat", "the", "sofa", "on"]
TEXTS = ["a photo of a dog", "cat", "the reddish dog on the red sofa", "on"]
CONFIG = BERTConfig(vocabulary=len(PIECES), length=12, width=24, layers=2, heads=4, feedforward=32)


@pytest.fixture
def sentences():
    torch.manual_seed(0)
    encoder = SentenceEncoder(CONFIG, PIECES)
    for parameter in encoder.parameters():
        parameter.data.add_(torch.randn(parameter.shape) * (0.4 if parameter.dim() > 1 else 0.1))
    return encoder


def test_a_sentence_is_the_mean_of_its_tokens_of_length_one(sentences):
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    reference = BertModel(BertConfig(vocab_size=len(PIECES), **sizes)).eval()
    reference.load_state_dict(sentences.bert.state_dict(), strict=True)
    tokens = encode(TEXTS, PIECES, 12)
    mask = (tokens != 0).long()
    with torch.no_grad():
        states = reference(input_ids=tokens, attention_mask=mask).last_hidden_state
    means = [F.normalize(row[: int(count)].mean(0), dim=0) for row, count in zip(states, mask.sum(1), strict=True)]
    torch.testing.assert_close(sentences(TEXTS), torch.stack(means), atol=1e-5, rtol=1e-4)


def test_padding_and_company_change_no_vector(sentences):
    together = sentences(TEXTS)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(TEXTS)))
    for text, vector in zip(TEXTS, together, strict=True):
        sentences.forget()
        torch.testing.assert_close(sentences([text])[0], vector, atol=1e-6, rtol=1e-5)
    assert (together @ together.T < 0.999).sum() == len(TEXTS) * (len(TEXTS) - 1)  # they do differ


def test_texts_are_remembered_until_weights_change(sentences):
    before = sentences(["cat", "dog", "cat"])
    assert torch.equal(before[0], before[2]) and not torch.equal(before[0], before[1])
    sentences.bert.embeddings.word_embeddings.weight.data.mul_(-1)
    assert torch.equal(sentences(["dog"])[0], before[1])
    sentences.forget()
    assert not torch.equal(sentences(["dog"])[0], before[1])


def test_memory_has_an_end(sentences):
    expected = sentences(["cat"])
    numbers = [f"cat {number}" for number in range(REMEMBERED)]
    sentences(numbers)
    assert len(sentences._known) <= REMEMBERED + 1
    torch.testing.assert_close(sentences(["cat", *numbers[:3]])[:1], expected)
    assert len(sentences._known) < 10


def test_nothing_is_trained_and_no_dropout_falls(sentences):
    assert not any(parameter.requires_grad for parameter in sentences.parameters())
    first = sentences.train()(["dog"])
    sentences.forget()
    assert torch.equal(sentences(["dog"]), first)


def published(folder, config: str | None, width: int = 128):
    sizes = BERTConfig(vocabulary=9, width=width, layers=1, heads=2, feedforward=8)
    save_file(BERT(sizes, ()).state_dict(), folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(config)
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("config", "heads"),
    [(json.dumps({"num_attention_heads": 8}), 8), ('{"hidden_size": 128}', 2), (None, 2)],
    ids=["stated", "unsaid", "no-file"],
)
def test_heads_are_what_the_file_beside_the_weights_says(config, heads, tmp_path):
    assert BERT.read_published(published(tmp_path, config))[0].heads == heads


@pytest.mark.parametrize("heads", ["7", "0", "-2", "2.0", '"8"', "null", "[8]", "1e400", "256"])
def test_heads_that_do_not_divide_the_width_are_refused(heads, tmp_path):
    path = published(tmp_path, f'{{"num_attention_heads": {heads}}}')
    with pytest.raises(DataError, match=r"config\.json: num_attention_heads is .* Allowed: a divisor of 128\. Fetch"):
        BERT.read_published(path)


@pytest.mark.parametrize("config", ["[]", "3", "null", '"heads"'])
def test_a_config_that_is_no_table_is_refused(config, tmp_path):
    with pytest.raises(DataError, match=r"config\.json: .*Fetch"):
        BERT.read_published(published(tmp_path, config))


@pytest.mark.parametrize("config", ["", "{", '{"num_attention_heads": 8', "\x00\x01"])
def test_a_damaged_config_is_refused(config, tmp_path):
    with pytest.raises(DataError, match=r"config\.json.*[Ff]etch"):
        BERT.read_published(published(tmp_path, config))


def test_a_width_without_a_usual_head_needs_the_file(tmp_path):
    with pytest.raises(DataError, match=r"num_attention_heads.*Allowed: a divisor of 48"):
        BERT.read_published(published(tmp_path, None, width=48))
    assert BERT.read_published(published(tmp_path, '{"num_attention_heads": 3}', width=48))[0].heads == 3
