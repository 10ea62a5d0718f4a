import json

import pytest

from deixis.core.errors import ConfigError, DataError
from deixis.cues.answers import Phrase
from deixis.cues.cache import CacheConfig, CachedCues

LEFT, BUS = Phrase("left guy", 7, (70, 71)), Phrase("bus", 8, (80,))


def test_our_own_file_is_looked_up_by_text(tmp_path):
    record = {"sent_id": 1, "text": "left guy", "cues": ["guy"], "source": "openai:x", "prompt_sha1": "1", "gen": {}}
    (tmp_path / "cues.jsonl").write_text(json.dumps(record) + "\n")
    answer, missing = CachedCues(CacheConfig(tmp_path / "cues.jsonl")).answer([LEFT, BUS])
    assert (answer.cues, answer.source, answer.prompt_sha1, answer.fallback) == (("guy",), "openai:x", "1", False)
    assert (missing.cues, missing.fallback, missing.error) == (("bus",), True, "not in the cache")


def test_a_folder_is_matched_by_sentence_and_not_by_order(tmp_path):
    (tmp_path / "8.json").write_text(json.dumps({"80": ["A bus."] * 5}))
    (tmp_path / "7.json").write_text(json.dumps({"71": ["guy", "Left guy!", "left guy", "", "guy"], "69": ["x"] * 5}))
    left, bus = CachedCues(CacheConfig(tmp_path)).answer([LEFT, BUS])
    assert left.cues == ("guy", "left guy") and bus.cues == ("a bus",)
    assert {left.source, bus.source} == {"imported"} and not left.fallback


@pytest.mark.parametrize("given", [{}, {"71": "left guy"}], ids=["no entry", "no list of texts"])
def test_a_phrase_that_is_missing_may_be_refused(tmp_path, given):
    (tmp_path / "8.json").write_text(json.dumps({"80": ["bus"]} | given))
    with pytest.raises(DataError, match=r'holds no cues of "left guy".*when_missing'):
        CachedCues(CacheConfig(tmp_path, when_missing="refuse")).answer([BUS, LEFT])


@pytest.mark.parametrize("entry", ["left guy", 2, None, {"0": "guy"}, ["guy", 2], [["guy"]]])
def test_an_entry_that_is_no_list_of_texts_falls_back_and_keeps_the_others(tmp_path, entry):
    (tmp_path / "7.json").write_text(json.dumps({"71": entry}))
    (tmp_path / "8.json").write_text('{"80": ["bus"]}')
    left, bus = CachedCues(CacheConfig(tmp_path)).answer([LEFT, BUS])
    assert (left.cues, left.source, left.fallback) == (("guy", "left guy"), "rule-v2", True)
    assert left.error == "an entry that is no list of texts"
    assert (bus.cues, bus.fallback) == (("bus",), False)


def test_another_sentence_with_the_same_words_stands_in_for_such_an_entry(tmp_path):
    (tmp_path / "7.json").write_text('{"70": "left guy", "71": ["guy"]}')
    (left,) = CachedCues(CacheConfig(tmp_path)).answer([LEFT])
    assert (left.cues, left.fallback) == (("guy",), False)


@pytest.mark.parametrize("content", ["[", "[1]", "2"])
def test_a_file_of_something_else_is_named(tmp_path, content):
    (tmp_path / "7.json").write_text(content)
    with pytest.raises(DataError, match=r"7\.json: not the phrases of one object.*dvc repro write_cues"):
        CachedCues(CacheConfig(tmp_path))


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no <ref_id>\.json"):
        CachedCues(CacheConfig(tmp_path))


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"absent: no such file or folder\. Allowed"):
        CachedCues(CacheConfig(tmp_path / "absent"))
