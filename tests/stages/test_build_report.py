"""What the charts of the report say."""

from stages.build_report import coverage_curves


def test_the_chart_says_whose_answers_are_ordered_by_confidence():
    curve = {"0.5": 0.9, "1.0": 0.8}
    scores = {
        "dvin": {"val": {"coverage": curve}},
        "dvin-rated": {"val": {"coverage": curve, "calibration_error": 0.1}},
    }
    assert coverage_curves(scores) == {"dvin": curve, "dvin-rated, by confidence": curve}
    assert coverage_curves({"student": {"val": {}}}) == {"student": None}
