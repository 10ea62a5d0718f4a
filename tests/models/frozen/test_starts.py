"""Where trainings start from: vocabularies, pretrained parts and word vectors, by name from one folder."""

import hashlib
import json

import pytest
import torch

from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError, DataError
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet
from models.frozen.starts import named_vectors, read_vocabulary, start_part, start_words
from models.text.bert import BERTConfig
from models.text.clip_text import CLIPTextConfig
from models.text.gru_attention import GRUAttentionEncoder
from tests.factories import TINY_TEXT, VOCABULARY

TEXTS = ["red ball", "left star"]


def card(folder, **facts):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(facts))


def test_words_of_training_texts_or_published_pieces(tmp_path):
    card(tmp_path / "bert", vocabulary=["[PAD]", "[SEP]"])
    card(tmp_path / "clip_text", vocabulary=["#version: 0.2"])
    words = ["[PAD]", "[UNK]", "[CLS]", "ball", "left", "red", "star"]
    assert read_vocabulary(TINY_TEXT, tmp_path, TEXTS) == words
    assert read_vocabulary(BERTConfig(vocabulary=None), tmp_path, TEXTS) == words
    assert read_vocabulary(BERTConfig(), tmp_path, TEXTS) == ["[PAD]", "[SEP]"]
    assert read_vocabulary(CLIPTextConfig(), tmp_path, TEXTS) == ["#version: 0.2"]


def test_an_import_that_is_no_text_encoder_or_is_missing(tmp_path):
    card(tmp_path / "bert", kind="glove")
    with pytest.raises(DataError, match=r"bert/config.json: has no vocabulary.*import_weights@bert"):
        read_vocabulary(BERTConfig(), tmp_path, TEXTS)
    with pytest.raises(DataError, match="import_weights@clip_text"):
        read_vocabulary(CLIPTextConfig(), tmp_path, TEXTS)


def test_a_part_is_loaded_strictly(tmp_path):
    sizes = CSPConfig(stem=4, widths=(8, 8, 8), blocks=(1, 1, 1))
    torch.manual_seed(0)
    stored, fresh = CSPDarkNet(sizes), CSPDarkNet(sizes)
    save_checkpoint(stored, tmp_path / "backbone", config={})
    start_part(fresh, tmp_path, "backbone")
    assert torch.equal(fresh.stem[0].weight, stored.stem[0].weight)
    with pytest.raises(DataError, match="another architecture than Linear"):
        start_part(torch.nn.Linear(2, 2), tmp_path, "backbone")
    with pytest.raises(DataError, match=r"missing.*dvc repro import_weights@detr"):
        start_part(fresh, tmp_path, "detr")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "{model: {}, recipe: {}, vektors: glove}",
            'simrec has no setting "vektors". Known: model, recipe, vectors',
        ),
        ("{model: {}, recipe: {}, vectors: 3}", "students.simrec.vectors is 3; expected the name of an import"),
    ],
)
def test_an_entry_with_other_settings_is_refused(tmp_path, entry, message):
    params = tmp_path / "params.yaml"
    params.write_text(f"students: {{simrec: {entry}}}")
    with pytest.raises(ConfigError, match=message):
        named_vectors("students.simrec", params)


def test_imported_vectors_fill_the_word_table(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("students: {simrec: {model: {}, recipe: {}, vectors: glove}, mcn: {model: {}, recipe: {}}}")
    assert named_vectors("students.simrec", params) == "glove"
    assert named_vectors("students.mcn", params) is None
    words = "red " + " ".join("1" * TINY_TEXT.word_width) + "\n"
    card(tmp_path / "glove", card="glove-6b", file="g.txt", sha256=hashlib.sha256(words.encode()).hexdigest())
    (tmp_path / "glove" / "g.txt").write_text(words)
    encoder = GRUAttentionEncoder(TINY_TEXT, VOCABULARY)
    about, path = start_words(torch.nn.Sequential(encoder), tmp_path, "glove")
    assert path == tmp_path / "glove" / "config.json"
    assert about == {"word_vectors": {"card": "glove-6b", "known": 1}}
    assert encoder.embedding.weight[VOCABULARY.index("red")].tolist() == [1.0] * TINY_TEXT.word_width
    assert not encoder.embedding.weight[VOCABULARY.index("star")].any()
    (tmp_path / "glove" / "g.txt").write_text(words.replace("1", "2"))
    with pytest.raises(DataError, match=r"g\.txt: not the file that config\.json describes"):
        start_words(torch.nn.Sequential(encoder), tmp_path, "glove")


def test_vectors_that_are_none_are_refused(tmp_path):
    card(tmp_path / "backbone", card="simrec-cspdarknet")
    encoder = GRUAttentionEncoder(TINY_TEXT, VOCABULARY)
    with pytest.raises(DataError, match="backbone: holds no word vectors"):
        start_words(encoder, tmp_path, "backbone")
    with pytest.raises(DataError, match=r"no folder of frozen models was named\. Give --weights"):
        start_words(encoder, None, "glove")
    with pytest.raises(DataError, match="import_weights@glove"):
        start_words(encoder, tmp_path, "glove")
