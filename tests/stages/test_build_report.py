"""What the charts of the report say."""

from dataclasses import fields, replace

from deixis.core.run_lists import RunParams
from stages.build_report import coverage_curves, shown_predictors


def test_the_chart_says_whose_answers_are_ordered_by_confidence():
    curve = {"0.5": 0.9, "1.0": 0.8}
    scores = {
        "dvin": {"val": {"coverage": curve}},
        "dvin-rated": {"val": {"coverage": curve, "calibration_error": 0.1}},
    }
    assert coverage_curves(scores) == {"dvin": curve, "dvin-rated, by confidence": curve}
    assert coverage_curves({"student": {"val": {}}}) == {"student": None}


def test_the_gallery_shows_a_teacher_alone_where_no_student_learns():
    nothing = {field.name: () for field in fields(RunParams)}
    run = RunParams(**nothing | {"teachers": ("zero_shot", "refclip")})
    assert shown_predictors(run) == ["zero_shot"]
    taught = replace(run, student_teachers=("refclip",), students=("simrec",))
    assert shown_predictors(taught) == ["refclip", "refclip-simrec"]
