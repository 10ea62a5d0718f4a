"""Whose masks a table of labels has, and that it says so where there are none."""

import pandas as pd
import pytest

from deixis.imaging.masks import encode_mask
from deixis.labelling.label_table import finish_labels

CARD = {"teacher": "dvin", "sha256": "0" * 64, "model": {}}


@pytest.fixture
def mask():
    return encode_mask(pd.DataFrame([[1, 0], [0, 0]]).to_numpy(bool))


def test_where_no_segmenter_was_asked_there_is_no_source_and_no_quality():
    done = finish_labels(pd.DataFrame({"sample_id": ["a", "b"]}), None, None, CARD)
    assert done["mask_source"].tolist() == ["none", "none"]
    assert done["mask"].isna().all() and done["mask_quality"].isna().all()


def test_a_teacher_s_own_mask_stays_without_a_segmenter(mask):
    done = finish_labels(pd.DataFrame({"sample_id": ["a", "b"], "own_mask": [mask, None]}), None, None, CARD)
    assert done["mask_source"].tolist() == ["teacher", "none"]
    assert done["mask"].tolist() == [mask, None]


def test_a_segmenter_s_masks_have_its_quality(mask):
    done = finish_labels(pd.DataFrame({"sample_id": ["a", "b"]}), [mask, None], [0.9, 0.0], CARD)
    assert done["mask_source"].tolist() == ["segmenter", "segmenter"]
    assert done["mask_quality"].tolist() == [0.9, 0.0]
