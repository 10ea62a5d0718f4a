"""Confidence learnt from decisions: right where they cover the labels, silent where they do not."""

import numpy as np
import pandas as pd
import pytest

from reviewing.confidence import LEAST, learnt_confidence
from stages.correct_labels import confidence_of


def world(count=2000):
    """One label an image: right as often as its margin, from 0 to 1, says."""
    drawn = np.random.default_rng(0)
    margin = drawn.random(count)
    return np.arange(count), np.tile([0.0, 0.0, 9.0, 9.0], (count, 1)), margin, drawn.random(count) < margin


def test_a_fair_sample_teaches_how_sure_the_others_are():
    *about, margin, right = world()
    decided = np.arange(2000) % 10 == 0
    sure = learnt_confidence(*about, margin, decided=decided, right=right)
    for low in (0.0, 0.25, 0.5, 0.75):
        here = ~decided & (margin >= low) & (margin < low + 0.25)
        assert sure[here].mean() == pytest.approx(right[here].mean(), abs=0.1)


def test_what_people_said_of_undecided_labels_is_not_read():
    *about, margin, right = world()
    decided = np.arange(2000) % 10 == 0
    sure = learnt_confidence(*about, margin, decided=decided, right=right)
    np.testing.assert_array_equal(sure, learnt_confidence(*about, margin, decided=decided, right=right | ~decided))


def test_decisions_about_doubtful_labels_alone_teach_nothing():
    *about, margin, right = world()
    decided = np.zeros(2000, bool)
    decided[np.argsort(margin)[:500]] = True
    assert learnt_confidence(*about, margin, decided=decided, right=right) is None
    decided[np.argsort(margin)[-LEAST:]] = True
    assert learnt_confidence(*about, margin, decided=decided, right=right) is not None


def test_labels_that_people_decided_are_as_sure_as_they_said():
    image_ids, boxes, margin, right = world()
    human = np.where(right, "accept", np.where(image_ids % 2 == 0, "reject", "box"))
    human[np.arange(2000) % 10 != 0] = ""
    table = pd.DataFrame({"image_id": image_ids, "margin": margin, "human": human})
    sure = confidence_of(table, boxes)
    assert set(sure[human == "reject"]) == {0.0} and set(sure[np.isin(human, ["accept", "box"])]) == {1.0}
    assert ((sure[human == ""] > 0) & (sure[human == ""] < 1)).all()
    assert confidence_of(table.assign(human=""), boxes) is None


def test_decisions_that_all_say_the_same_teach_nothing():
    *about, margin, _ = world()
    everything = np.ones(2000, bool)
    assert learnt_confidence(*about, margin, decided=everything, right=everything) is None
