"""Masks of foreign files: every coding of a mask gives the same one, and no broken code reaches the library."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deixis.datasets.segmentations import read_mask
from deixis.imaging.masks import area, decode_mask, encode_mask, run_lengths, tight_box

MASKS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape))


def lengths(mask: np.ndarray) -> list[int]:
    """Uncompressed run lengths, column by column, background first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *changes, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


@given(MASKS)
def test_an_encoded_code_is_read_as_the_library_wrote_it(mask):
    assert run_lengths(encode_mask(mask)["counts"]) == lengths(mask)


@given(MASKS, MASKS)
def test_parts_unite_whatever_their_coding(one, other):
    other = np.resize(other, one.shape)
    height, width = one.shape
    parts = [encode_mask(one), {"size": [height, width], "counts": lengths(other)}]
    mask, dropped = read_mask(parts, width=width, height=height)
    assert (decode_mask(mask) == (one | other)).all() and dropped == 0 and area(mask) == (one | other).sum()


@given(MASKS, st.data())
def test_a_code_with_a_character_lost_is_refused(mask, data):
    height, width = mask.shape
    counts = encode_mask(mask)["counts"]
    place = data.draw(st.integers(0, len(counts) - 1))
    harmed = counts[:place] + counts[place + 1 :]
    try:
        decoded, _ = read_mask({"size": [height, width], "counts": harmed}, width=width, height=height)
    except ValueError:
        return
    assert sum(run_lengths(decoded["counts"])) == height * width  # rarely, it is a whole code still


def test_a_stored_sum_of_parts_is_a_union(tmp_path):
    summed = np.array([[0, 1, 2], [0, 0, 3]], np.uint8)
    np.save(tmp_path / "7.npy", summed)
    mask, _ = read_mask(tmp_path / "7.npy", width=3, height=2)
    assert (decode_mask(mask) == (summed > 0)).all()
    assert tight_box(mask) == (1, 0, 3, 2)


def objects(path):
    np.save(path, np.array([[object()]]), allow_pickle=True)


def another_size(path):
    np.save(path, np.zeros((3, 2)))


def huge(path):
    np.save(path, np.zeros((2, 3)))
    path.write_bytes(path.read_bytes().replace(b"(2, 3)", b"(9999999, 9999999)"))


def archive(path):
    with path.open("wb") as stream:
        np.savez(stream, np.zeros((2, 3)))


def spoilt_header(path):
    np.save(path, np.zeros((2, 3)))
    path.write_bytes(path.read_bytes().replace(b"}", b" "))


def text_for_numbers(path):
    np.save(path, np.full((2, 3), "ball"))


@pytest.mark.parametrize(
    "write", [lambda path: None, objects, another_size, huge, archive, spoilt_header, text_for_numbers]
)
def test_a_stored_mask_that_is_none_is_refused(tmp_path, write):
    write(tmp_path / "7.npy")
    with pytest.raises(ValueError, match=r"its mask .*7\.npy"):
        read_mask(tmp_path / "7.npy", width=3, height=2)
