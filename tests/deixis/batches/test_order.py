"""Batches depend on seed and epoch alone, hold whole batches, and there is at least one."""

from pathlib import Path

import pytest

from deixis.batches.order import count_batches, drawn_batches, epoch_generator, shuffled_batches
from deixis.core.errors import DataError


def test_an_epoch_has_the_same_batches_whenever_it_is_asked_for():
    batches = shuffled_batches(10, 3, seed=1)
    assert list(batches(2)) == list(batches(2))
    assert list(batches(2)) != list(batches(3))
    assert [len(rows) for rows in batches(2)] == [3, 3, 3]


def test_an_epoch_draws_one_row_of_each_group():
    groups = [7, 7, 3, 3, 3, 5]
    batches = drawn_batches(groups, 1, seed=1)
    assert list(batches(2)) == list(batches(2))
    drawn = [[row for batch in batches(epoch) for row in batch] for epoch in range(40)]
    assert all(sorted(groups[row] for row in rows) == [3, 5, 7] for rows in drawn)
    assert {row for rows in drawn for row in rows} == set(range(6))
    assert len({tuple(rows) for rows in drawn}) > 20
    assert [len(rows) for rows in drawn_batches(groups, 2, seed=1)(0)] == [2]


def test_no_two_seeds_share_the_generator_of_an_epoch():
    states = {epoch_generator(seed, epoch).initial_seed() for seed in range(3) for epoch in range(2000)}
    assert len(states) == 3 * 2000


def test_fewer_rows_than_one_batch_are_refused():
    words = {"of": "training pairs", "setting": "teachers.dvin.recipe.batch_size"}
    assert count_batches(7, 3, **words) == 2
    with pytest.raises(DataError, match=r"^pairs: 2 training pairs, fewer than one batch of 3\..*lower teachers\.dvin"):
        count_batches(2, 3, **words, found_in=Path("pairs"))
