"""From a phrase to ids and word vectors."""

import pytest
import torch

from deixis.language.text import PAD, START, UNKNOWN, build_vocabulary, normalise
from deixis.language.tokens import encode, knows_texts, word_vectors

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "ball", "left", "red"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        pytest.param("The man's red-shirt, #2 (left)!", ["the", "mans", "red", "shirt", "2", "left"], id="sheet"),
        pytest.param("a.b,c'd!e?f\"g(h)i*j#k:l;m", ["abcdefghijklm"], id="deleted-characters"),
        pytest.param("left/right  top-most\tred\nball", ["left", "right", "top", "most", "red", "ball"], id="spaces"),
        pytest.param("ﬁne Ｒｅｄ ｂａｌｌ", ["fine", "red", "ball"], id="nfkc"),
        pytest.param("（left）！", ["left"], id="full-width-punctuation"),
        pytest.param("red\x00ball\u200b", ["red", "ball"], id="control-characters"),
        pytest.param("foot\u00adball wo\u2060man", ["football", "woman"], id="soft-hyphen-and-joiner"),
        pytest.param("\u0645\u06cc\u200c\u0631\u0648\u062f", ["\u0645\u06cc\u0631\u0648\u062f"], id="non-joiner"),
        pytest.param("\u200ered\u200b ball\u200f 2\ufeff", ["red", "ball", "2"], id="direction-and-zero-width"),
        pytest.param("red\u200bball", ["red", "ball"], id="zero-width-space-parts-words"),
        pytest.param("a \U0001f468\u200d\U0001f692 man", ["a", "\U0001f468\U0001f692", "man"], id="joined-emoji"),
        pytest.param("wo\u034fman \u3164heart\ufe0f", ["woman", "heart"], id="fillers-and-selectors"),
        pytest.param("t\u2010shirt t\u2011shirt t\u2212shirt", ["t", "shirt"] * 3, id="hyphens"),
        pytest.param("Çelik ŞAPKA", ["çelik", "şapka"], id="other-letters"),
        pytest.param("cafe\u0301 CAFÉ", ["café", "café"], id="combining-accent"),
        pytest.param("左边的人，红色的球。「大」", ["左边的人", "红色的球", "大"], id="chinese-marks"),
        pytest.param("¿la «bola» roja…?", ["la", "bola", "roja"], id="european-marks"),
        pytest.param("الكرة، الحمراء؟", ["الكرة", "الحمراء"], id="arabic-marks"),
        pytest.param("赤い・ボール、左", ["赤い", "ボール", "左"], id="japanese-marks"),
    ],
)
def test_words(expression, words):
    assert normalise(expression).split() == words


@pytest.mark.parametrize("expression", ["", "  ", "?!", "...", "-/-", "(\"')", "\n\t", "，！？", "\u2060\u00ad\u200b"])
def test_punctuation_alone_is_the_empty_text(expression):
    assert normalise(expression) == ""


@pytest.mark.parametrize("expression", ["The man's red-shirt, #2 (left)!", "  big - ball ", "ﬁne"])
def test_normalising_twice_changes_nothing(expression):
    assert normalise(normalise(expression)) == normalise(expression)


def test_special_ids():
    assert (PAD, UNKNOWN, START) == (0, 1, 2)
    assert build_vocabulary(["red ball", "ball left"]) == VOCABULARY


def test_vocabulary_ignores_the_order_of_texts():
    assert build_vocabulary(["ball left", "red ball"]) == build_vocabulary(["red ball", "ball left"])


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        pytest.param("red ball", [5, 3, 0, 0], id="padded"),
        pytest.param("red zebra ball", [5, 1, 3, 0], id="unknown-word"),
        pytest.param("red red left ball ball", [5, 5, 4, 3], id="cut"),
        pytest.param("", [0, 0, 0, 0], id="empty"),
    ],
)
def test_encode(text, ids):
    encoded = encode([text], VOCABULARY, 4)
    assert encoded.tolist() == [ids]
    assert encoded.dtype == torch.long


def test_encode_no_texts():
    assert encode([], VOCABULARY, 4).shape == (0, 4)


def test_word_vectors_are_the_same_for_every_vocabulary():
    here = word_vectors(VOCABULARY, 300)
    there = word_vectors(["[PAD]", "[UNK]", "[CLS]", "apple", "red", "zebra", "ball"], 300)
    assert torch.equal(here[VOCABULARY.index("red")], there[4])
    assert torch.equal(here[VOCABULARY.index("ball")], there[6])
    assert torch.equal(here, word_vectors(VOCABULARY, 300))


def test_word_vectors_of_padding_and_unknown_are_zero():
    vectors = word_vectors(VOCABULARY, 300)
    assert vectors.shape == (6, 300)
    assert (vectors[[PAD, UNKNOWN]] == 0).all()


def test_word_vectors_tell_words_apart():
    words = word_vectors(VOCABULARY, 300)[3:]
    assert words.std().item() == pytest.approx(1.0, abs=0.1)
    cosine = torch.nn.functional.cosine_similarity(words[:, None], words[None], dim=-1)
    assert (cosine - torch.eye(3)).abs().max() < 0.3


def test_a_phrase_is_known_by_a_word_that_says_what_it_is():
    texts = ["the red blorp", "the wug on a fnord", "of the", "ball"]
    known = knows_texts(texts, ["[PAD]", "[UNK]", "the", "red", "ball", "on"])
    assert known == [True, False, True, True]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "w", "##u", "##g"]
    assert knows_texts(["wug", "लाल गेंद", "😀", "लाल wug"], pieces) == [True, False, False, True]
    assert knows_texts(["लाल"], ["#version: 0.2", "r e"]) == [True]  # bytes spell every word
