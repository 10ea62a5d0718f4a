"""Captions stay below their own images."""

import numpy as np
from PIL import Image, ImageFont

from deixis.imaging.draw import fitted, panel


def test_a_caption_is_one_line_and_no_wider_than_its_image():
    font = ImageFont.load_default(14)
    assert fitted("two\n lines", font, 200) == "two lines"
    cut = fitted("very " * 200 + "red", font, 200)
    assert cut.startswith("very very") and cut.endswith("...")
    assert 200 - 14 * 3 < font.getlength(cut) <= 200
    assert font.getlength(fitted("красный " * 50, font, 100)) <= 100


def test_captions_do_not_reach_into_the_next_column():
    blank = Image.new("RGB", (100, 20), "white")
    long, empty = panel([("word " * 90, blank), ("", blank)], title=""), panel([("", blank), ("", blank)], title="")
    changed = np.flatnonzero((np.asarray(long) != np.asarray(empty)).any((0, 2)))
    assert len(changed) and changed.max() < 12 + 100
