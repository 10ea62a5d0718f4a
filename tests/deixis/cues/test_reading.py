import json

import pytest

from deixis.core.errors import DataError
from deixis.cues.reading import pad_cues, read_cues


@pytest.mark.parametrize(
    ("cues", "policy", "padded"),
    [
        ("a b", "cycle", "a b a b a"),
        ("a b", "last", "a b b b b"),
        ("a b", "full", "a b t t t"),
        ("a", "cycle", "a a a a a"),
        ("a b c d e f", "cycle", "a b c d e"),
        ("a b c d e f", "full", "a b c d e"),
    ],
)
def test_padding(cues, policy, padded):
    assert pad_cues(cues.split(), 5, policy, text="t") == padded.split()


def test_cues_by_text(tmp_path):
    path = tmp_path / "cues.jsonl"
    path.write_text('{"text": "left guy", "cues": ["guy", "left guy"]}\n{"text": "a", "cues": ["a"], "source": "x"}\n')
    assert read_cues(path) == {"left guy": ["guy", "left guy"], "a": ["a"]}
    path.write_text("")
    assert read_cues(path) == {}


@pytest.mark.parametrize(
    "line",
    ['{"text": "a", "cues": ["a"]', "[]", '{"cues": ["a"]}', '{"text": "a", "cues": []}', '{"text": "a", "cues": [1]}'],
)
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "cues.jsonl"
    path.write_text(json.dumps({"text": "b", "cues": ["b"]}) + f"\n{line}\n")
    with pytest.raises(DataError, match=r"line 2 is no record.*dvc repro -f write_cues"):
        read_cues(path)


def test_a_missing_file_names_its_stage(tmp_path):
    with pytest.raises(DataError, match=r"missing\. It is written by write_cues; run: dvc repro write_cues"):
        read_cues(tmp_path / "cues.jsonl")
