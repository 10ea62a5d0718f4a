"""Real phrases about photographs, sorted by what they say: places are read, looks and kinds are none."""

import json
from collections import Counter

import pytest

from deixis.language.location_words import parse_location_words
from deixis.language.text import normalise
from tests.photographs import photographs


@pytest.fixture(scope="module")
def rows():
    lines = (photographs() / "phrases.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_phrase_of_a_place_is_read_and_none_of_looks_or_kinds(rows):
    read = Counter(row["kind"] for row in rows if not parse_location_words(normalise(row["phrase"])).is_empty)
    assert read["place"] == sum(row["kind"] == "place" for row in rows) > 100
    assert read["appearance"] == read["category"] == 0
