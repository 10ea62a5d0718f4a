"""Confidence measured against known odds."""

import numpy as np
import pytest
from scipy.special import expit

from benchmarks.calibration import fit_line
from benchmarks.zero_shot_parts import calibration_error
from tests.factories import dvin, refclip


def test_the_line_that_made_the_hits_is_found_and_leaves_little_error():
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 3, 20_000)
    hits = rng.random(20_000) < expit(0.3 * odds - 0.5)
    slope, offset = fit_line(odds, hits)
    assert slope == pytest.approx(0.3, abs=0.03) and offset == pytest.approx(-0.5, abs=0.06)
    assert calibration_error(expit(slope * odds + offset), hits) < 0.02 < 0.1 < calibration_error(expit(odds), hits)


def test_the_error_of_five_bins_is_counted_by_hand():
    stated = np.array([0.1, 0.1, 0.3, 0.3, 0.5, 0.5, 0.7, 0.7, 0.9, 0.9])
    hits = np.array([0, 0, 0, 1, 0, 1, 1, 1, 1, 1], dtype=bool)
    assert calibration_error(stated, hits) == pytest.approx((0.1 + 0.2 + 0.0 + 0.3 + 0.1) / 5)


@pytest.mark.parametrize("make", [refclip, dvin])
def test_measured_numbers_are_a_teachers_setting(make):
    assert make(calibration=(0.3, -0.5)).calibration == (0.3, -0.5)
    assert make().calibration is None
