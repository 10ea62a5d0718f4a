"""An epoch of phrases, or of one phrase of each ref; whoever cannot have the latter says so."""

import pandas as pd
import pytest

from deixis.core.errors import ConfigError, DataError
from deixis.training.fit import Recipe
from training.epochs import epoch_batches, refuse_refs

WORDS = {"section": "teachers.refclip.recipe", "of": "training pairs", "seed": 0}
PAIRS = pd.DataFrame({"sample_id": list("abcdef"), "ref_id": [1, 1, 1, 2, 2, 3]})


def test_phrases_are_all_of_them():
    order, steps, card = epoch_batches(PAIRS, Recipe(batch_size=2), **WORDS)
    assert steps == 3 and not card
    assert sorted(row for batch in order(0) for row in batch) == list(range(6))


def test_refs_are_one_phrase_each():
    order, steps, card = epoch_batches(PAIRS, Recipe(batch_size=1, epoch="refs"), **WORDS)
    assert steps == 3 and "ref" in card["epoch"]
    for epoch in range(5):
        rows = [row for batch in order(epoch) for row in batch]
        assert sorted(PAIRS["ref_id"][rows]) == [1, 2, 3]


def test_a_batch_is_counted_in_refs():
    with pytest.raises(DataError, match=r"3 refs among training pairs, fewer than one batch of 4"):
        epoch_batches(PAIRS, Recipe(batch_size=4, epoch="refs"), **WORDS)


@pytest.mark.parametrize("pairs", [PAIRS.drop(columns="ref_id"), PAIRS.assign(ref_id=[1, 1, None, 2, 2, 3])])
def test_phrases_without_a_ref_are_refused(pairs):
    with pytest.raises(DataError, match=r"have no ref_id, and teachers\.refclip\.recipe\.epoch"):
        epoch_batches(pairs, Recipe(batch_size=1, epoch="refs"), **WORDS)


def test_whole_images_are_no_refs():
    refuse_refs(Recipe(), "map_teachers.tris")
    with pytest.raises(ConfigError, match=r"map_teachers\.tris: its recipe says epoch: refs"):
        refuse_refs(Recipe(epoch="refs"), "map_teachers.tris")
