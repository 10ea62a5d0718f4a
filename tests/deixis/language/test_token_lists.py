"""Token lists of released models: words where they first appear, over all splits."""

import json

import pytest

from deixis.core.errors import DataError
from deixis.language.token_lists import read_token_list

NUMBERED = ["[PAD]", "[UNK]", "[CLS]", "mans", "red", "shirt", "2", "left", "dog"]
SPLITS = {
    "train": [{"refs": ["The man's red-shirt, #2 (left)!".removeprefix("The ")]}],
    "testA": [{"refs": ["Left/dog?"]}],
}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(SPLITS),
        json.dumps({token.strip("[]") if number < 3 else token: number for number, token in enumerate(NUMBERED)}),
        json.dumps(["PAD", "UNK", "CLS", *NUMBERED[3:]]),
        "\n".join(NUMBERED),
        "\n".join(["PAD", "UNK", "CLS", *NUMBERED[3:]]) + "\n",
    ],
    ids=["annotations", "numbers", "list", "lines", "lines with an end"],
)
def test_each_form_gives_the_same_list(tmp_path, content):
    (tmp_path / "tokens").write_text(content)
    assert read_token_list(tmp_path / "tokens") == NUMBERED


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not whole JSON"),
        ("[]", "expected PAD"),
        ("red\nball\n", "expected PAD"),
        ('["PAD", "UNK", "CLS", "red", "red"]', "twice"),
        ('["PAD", "UNK", "CLS", 3]', "no text"),
        ('{"PAD": 0, "UNK": 1, "CLS": 3}', "numbers are not"),
        ('{"train": {"refs": ["a"]}}', "train holds no list"),
        ('{"train": [{"refs": "red"}]}', "train holds no list"),
        ("{}", "expected PAD"),
    ],
)
def test_what_is_no_token_list_is_refused(tmp_path, content, problem):
    (tmp_path / "tokens").write_text(content)
    with pytest.raises(DataError, match=problem):
        read_token_list(tmp_path / "tokens")


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "tokens").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "tokens", tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_token_list(path)
