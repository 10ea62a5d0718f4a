"""Confidence in labels: bounded, learnt from ranks, and right where the right answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deixis.core.errors import DataError
from deixis.labelling.confidence import FOLDS, rate, sureness


def made_up(seed: int, *, labels: int = 60, images: int = 20):
    generator = np.random.default_rng(seed)
    return {
        "margin": generator.normal(size=labels), "stability": generator.random(labels),
        "agreement": generator.random((labels, 2)), "image_ids": np.arange(labels) % images,
    }  # fmt: skip


def rated(given):
    return rate(given["margin"], **{name: given[name] for name in ("stability", "agreement", "image_ids")})


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 80), st.integers(2, 7))
def test_it_lies_between_0_and_1_however_few_labels_there_are(seed, labels, images):
    confidence = rated(made_up(seed, labels=max(labels, images), images=images))
    assert np.isfinite(confidence).all() and confidence.min() >= 0 and confidence.max() <= 1


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_only_the_order_of_margins_counts(seed):
    values = made_up(seed)
    assert np.array_equal(rated(values), rated(values | {"margin": np.exp(3 * values["margin"]) - 7}))


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_rows_does_not_count(seed):
    values = made_up(seed)
    values["margin"] = values["margin"].round(1)  # with ties
    order = np.random.default_rng(seed).permutation(60)
    shuffled = {name: array[order] for name, array in values.items()}
    assert rated(shuffled) == pytest.approx(rated(values)[order])


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_within_a_fold_it_never_falls_as_the_margin_grows(seed):
    values = made_up(seed)
    alike = values["image_ids"] % FOLDS == 0
    for name in ("stability", "agreement"):
        values[name][alike] = 0.6
    order = np.argsort(values["margin"][alike])
    assert (np.diff(rated(values)[alike][order]) >= -1e-12).all()


def test_labels_that_cannot_be_told_apart_get_the_same():
    values = {name: np.full_like(array, 0.7) for name, array in made_up(0).items() if name != "image_ids"}
    confidence = rated(values | {"image_ids": np.arange(60) % 20})
    assert confidence.tolist() == [1.0] * 60  # the most confident are taken to be right, and all are the most confident


def test_an_event_that_never_happens_lends_no_confidence():
    values = made_up(0) | {"agreement": np.zeros((60, 1)), "stability": np.zeros(60)}
    assert rated(values).tolist() == [0.0] * 60


def test_what_happens_to_a_label_does_not_judge_it():
    values = made_up(3)
    evidence, events, folds = values["margin"], (values["stability"] > 0.5).astype(float), values["image_ids"] % FOLDS
    first = sureness(evidence, events, folds)
    changed = np.where(folds == 2, 1 - events, events)
    second = sureness(evidence, changed, folds)
    assert np.array_equal(first[folds == 2], second[folds == 2])
    assert not np.array_equal(first[folds != 2], second[folds != 2])


def test_it_finds_the_probability_of_being_right_where_its_assumptions_hold():
    generator = np.random.default_rng(0)
    labels = 40_000
    probability = np.clip(generator.random(labels) * 1.1, 0, 1)  # the most confident are right
    right = generator.random(labels) < probability
    noticed = generator.random(labels) < 0.6  # a witness is right as often, and never agrees on what is wrong
    confidence = sureness(probability, (right & noticed).astype(float), np.arange(labels) % FOLDS)
    assert np.abs(confidence - probability).mean() < 0.03


def test_one_image_is_too_few():
    with pytest.raises(DataError, match=r"1 image with labels: .* Allowed: two or more"):
        rated(made_up(0, images=1))
