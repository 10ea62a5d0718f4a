"""The published counts are consistent, and differences are told apart by how sure they are."""

from typing import get_args

import pytest

from deixis.core.errors import DataError
from deixis.datasets.published import PUBLISHED, TOTAL, PublishedSet, compare, count_rows


def test_every_name_that_a_setting_may_have_is_in_the_table():
    assert set(get_args(PublishedSet)) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_splits_add_up(name):
    splits = [counts for split, counts in PUBLISHED[name].items() if split != TOTAL]
    total = PUBLISHED[name][TOTAL]
    for what in ("refs", "expressions"):
        parts = [getattr(counts, what) for counts in splits]
        assert None in parts or sum(parts) == getattr(total, what)
    images = sum(counts.images or 0 for counts in splits)
    assert images > (total.images or 0) if name.endswith("google") else images == total.images


def rows(**changes):
    counts = {"train": (8_998, 54_127), "val": (1_000, 5_842), "test": (9_999, 60_103)} | changes
    for split, (images, expressions) in counts.items():
        yield from ((split, f"{split}{n}", f"{split}{n}", 1) for n in range(images))
        yield split, f"{split}0", f"{split}rest", expressions - images
    yield from (("train", "train0", f"more{n}", 0) for n in range(99_220 - 19_997 - 3))


def test_equal_counts_say_nothing(capsys):
    compare(count_rows(rows()), expect="referit_berkeley", dataset="toy", allow_other_counts=False)
    assert capsys.readouterr().err == ""


def test_a_difference_in_an_uncertain_figure_is_only_told(capsys):
    counts = count_rows(rows(train=(8_997, 54_127), val=(1_001, 5_842)))
    compare(counts, expect="referit_berkeley", dataset="toy", allow_other_counts=False)
    messages = capsys.readouterr().err
    assert "train  images       found    8,997  published    8,998 (uncertain)" in messages and "all" not in messages


def test_a_difference_in_a_certain_figure_ends_the_run():
    counts = count_rows(rows(val=(1_000, 5_843)))
    with pytest.raises(DataError, match=r"(?s)all    expressions  found  120,073  published  120,072\n.*prepare@toy"):
        compare(counts, expect="referit_berkeley", dataset="toy", allow_other_counts=False)


def test_a_split_that_is_not_published_is_named():
    counts = count_rows([*rows(), ("testA", "test0", "test0", 0)])
    with pytest.raises(DataError, match=r"testA  images       found        1  published        0"):
        compare(counts, expect="referit_berkeley", dataset="toy", allow_other_counts=False)
