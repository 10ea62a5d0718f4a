"""Which phrases are about one object, what may not be done where nobody says so, and masks as bits."""

import numpy as np
import pytest
import torch

from deixis.batches.samples import grouped_pairs, pack_bits, refuse_ungrouped, unpack_bits
from deixis.core.errors import DataError
from stages.write_pseudo_labels import write_pseudo_labels
from tests.factories import write_pairs, write_params


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32], ids=["packed", "read from a store"])
@pytest.mark.parametrize("side", [1, 12, 16, 52])
def test_packed_masks_come_back_whatever_their_side(side, kind):
    masks = np.random.default_rng(0).random((2, 3, side, side)) > 0.5
    packed = torch.from_numpy(pack_bits(masks))
    assert packed.shape == (2, 3, side, -(-side // 8))
    assert (unpack_bits(packed.to(kind)).numpy() == masks).all()


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
