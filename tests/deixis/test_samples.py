"""Which phrases are about one object, and what may not be done where nobody says so."""

import pytest

from deixis.core.errors import DataError
from deixis.samples import grouped_pairs, refuse_ungrouped
from stages.write_pseudo_labels import write_pseudo_labels
from tests.factories import write_pairs, write_params


def test_only_a_set_that_groups_every_phrase_passes(tmp_path):
    whole = grouped_pairs(write_pairs(tmp_path, [1, 1, 2, 2]))
    refuse_ungrouped(whole, found_in=tmp_path, setting="labels.same_image", without="free")
    pairs = write_pairs(tmp_path, [1, 1, 2, None])
    with pytest.raises(DataError, match=r"1 of 4 phrases have no ref_id.*Allowed: labels.same_image: free.*dvc repro$"):
        refuse_ungrouped(grouped_pairs(pairs), found_in=pairs, setting="labels.same_image", without="free")


def test_distinct_labels_are_refused_to_phrases_that_nobody_grouped(tmp_path):
    pairs, nowhere = write_pairs(tmp_path, [None] * 4), tmp_path / "nowhere"
    params = write_params(tmp_path, **{"labels.same_image": "distinct"})
    with pytest.raises(DataError, match=r"pairs.parquet: 4 of 4 phrases have no ref_id.*labels.same_image: free"):
        write_pseudo_labels(
            pairs=pairs, images=nowhere, features=nowhere, teacher=nowhere, out=tmp_path, params=params, device="cpu"
        )
