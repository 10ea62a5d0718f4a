"""Lists of `run` that do not fit together are refused, by name and with the line to write."""

from dataclasses import replace
from pathlib import Path

import pytest

from deixis.core.config import read_section
from deixis.core.errors import ConfigError
from deixis.core.run_lists import RunParams, refuse_misfits

ROOT = Path(__file__).parents[3]
METHODS = {
    "teachers": ["refclip", "dvin", "weakmcn"],
    "map_teachers": ["tris", "pcnet"],
    "students": ["simrec", "mattnet"],
}
READS = {"weakmcn": ("box_masks",), "pcnet": ("proposals",)}
RUN = replace(
    read_section(ROOT / "params.yaml", "run", RunParams),
    datasets=("scenes", "scenes_plus"), teachers=("refclip", "dvin"), students=("simrec",),
)  # fmt: skip


def check(**lists) -> None:
    refuse_misfits(replace(RUN, **lists), methods=METHODS, reads=READS)


@pytest.mark.parametrize(
    "lists",
    [
        {},
        {"teachers": ("dvin", "weakmcn"), "box_masks": ("scenes", "scenes_plus")},
        {"rated": ("dvin",), "relabelled": ("dvin-rated",), "student_teachers": ("dvin-rated",)},
        {"corrected": ("dvin",), "relabelled": ("dvin-corrected",), "student_teachers": ("dvin-corrected",)},
        {"upper_bounds": ("simrec",), "annotation_students": ("mattnet",),
         "references": ("truth-simrec", "dvin-mattnet-on_annotations")},
    ],
)  # fmt: skip
def test_lists_that_fit(lists):
    check(**lists)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"teachers": ("dvin", "clip")}, r"run.teachers names clip. Allowed: refclip, dvin, weakmcn"),
        ({"students": ("simrek",)}, r"run.students names simrek. Allowed: simrec, mattnet"),
        ({"student_teachers": ("tris",)}, r"run.student_teachers names tris. Allowed: refclip, dvin"),
        ({"rated": ("weakmcn",)}, r"run.rated names weakmcn"),
        ({"corrected": ("weakmcn",)}, r"run.corrected names weakmcn"),
        ({"teachers": ("dvin", "weakmcn")},
         r"weakmcn reads run.box_masks, which lacks scenes, scenes_plus. Write box_masks: \[scenes, scenes_plus\]"),
        ({"map_teachers": ("pcnet",), "proposals": ("scenes",)}, r"pcnet reads run.proposals, which lacks scenes_plus"),
        ({"upper_bounds": ("simrec",)}, r"run.references is \[\], .* Write references: \[truth-simrec\]"),
        ({"relabelled": ("dvin-res",)}, r"run.relabelled is \[dvin-res\], .* Write relabelled: \[\]"),
        ({"reference_datasets": ("scenes_g",)}, r"run.reference_datasets names scenes_g. Allowed: scenes, scenes_plus"),
    ],
)  # fmt: skip
def test_lists_that_do_not(lists, message):
    with pytest.raises(ConfigError, match=rf"params.yaml: .*{message}.*dvc repro"):
        check(**lists)


def test_every_misfit_is_told_at_once():
    with pytest.raises(ConfigError, match=r"names clip.*weakmcn reads.*references"):
        check(teachers=("dvin", "clip", "weakmcn"), upper_bounds=("simrec",))
