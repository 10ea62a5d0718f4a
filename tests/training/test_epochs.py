"""An epoch of phrases, of one phrase of each ref, or of whole images; whoever cannot have the latter two says so."""

import pandas as pd
import pytest

from deixis.batches.order import slice_of_batch
from deixis.core.errors import ConfigError, DataError
from deixis.training.fit import Recipe
from training.epochs import epoch_batches, refuse_other_epochs

WORDS = {"section": "teachers.refclip.recipe", "of": "training pairs", "seed": 0}
PAIRS = pd.DataFrame({"sample_id": list("abcdef"), "image_id": [9, 8, 9, 9, 8, 7], "ref_id": [1, 1, 1, 2, 2, 3]})


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


def test_whole_images_come_with_all_their_phrases():
    order, steps, card = epoch_batches(PAIRS, Recipe(batch_size=2, epoch="images"), **WORDS)
    assert steps == 1 and "images" in card["epoch"]
    seen = set()
    for epoch in range(10):
        (rows,) = order(epoch)
        images = PAIRS["image_id"][rows].tolist()
        assert len(set(images)) == 2 and sorted(rows) == sorted(PAIRS.index[PAIRS["image_id"].isin(images)])
        seen.update(images)
    assert seen == {7, 8, 9}
    with pytest.raises(DataError, match=r"3 images of training pairs, fewer than one batch of 4"):
        epoch_batches(PAIRS, Recipe(batch_size=4, epoch="images"), **WORDS)


def test_a_batch_is_counted_in_refs():
    with pytest.raises(DataError, match=r"3 refs among training pairs, fewer than one batch of 4"):
        epoch_batches(PAIRS, Recipe(batch_size=4, epoch="refs"), **WORDS)


@pytest.mark.parametrize("pairs", [PAIRS.drop(columns="ref_id"), PAIRS.assign(ref_id=[1, 1, None, 2, 2, 3])])
def test_phrases_without_a_ref_are_refused(pairs):
    with pytest.raises(DataError, match=r"have no ref_id, and teachers\.refclip\.recipe\.epoch"):
        epoch_batches(pairs, Recipe(batch_size=1, epoch="refs"), **WORDS)


@pytest.mark.parametrize("epoch", ["refs", "images"])
def test_batches_of_another_kind_have_no_other_epoch(epoch):
    refuse_other_epochs(Recipe(), "map_teachers.tris")
    with pytest.raises(ConfigError, match=rf"map_teachers\.tris: its recipe says epoch: {epoch}"):
        refuse_other_epochs(Recipe(epoch=epoch), "map_teachers.tris")


IMAGES = [7, 3, 7, 5, 3, 9, 5, 5]


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_slices_hold_every_row_once_and_all_about_an_image(ranks):
    slices = [slice_of_batch(IMAGES, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert sorted(place for places in slices for place in places) == list(range(8))
    in_order = [dict.fromkeys(IMAGES[place] for place in places) for places in slices]
    assert [image for images in in_order for image in images] == [7, 3, 5, 9]  # each once, as in the batch


def test_slices_of_whole_images_are_the_batch_in_its_order():
    for images in ([1, 1, 2, 3, 3, 3, 4, 5], [4, 4, 4, 4, 4, 2]):
        slices = [slice_of_batch(images, rank=rank, ranks=2) for rank in range(2)]
        assert [place for places in slices for place in places] == list(range(len(images)))


def test_a_batch_about_fewer_images_than_processes_is_refused():
    with pytest.raises(DataError, match=r"a batch about 4 images for 5 processes.*Train over fewer"):
        slice_of_batch(IMAGES, rank=0, ranks=5)
