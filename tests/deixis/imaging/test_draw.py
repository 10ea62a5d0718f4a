"""Captions stay below their own images."""

import numpy as np
from PIL import Image, ImageFont

from deixis.imaging import draw
from deixis.imaging.draw import fitted, font_of, lacking, overlay, panel


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


def test_characters_that_a_font_lacks_are_known():
    usual = ImageFont.load_default(14)
    assert lacking(usual, "the “red” cafe\u0301") == set()
    assert lacking(usual, "красный 红 ball\u200d") == {*"красный", "红"}


def test_the_font_is_the_usual_one_unless_another_has_more_of_the_text():
    usual = ImageFont.load_default(14).getname()
    assert font_of("red ball", 14).getname() == usual
    russian = font_of("красный", 14)
    assert russian.getname() == usual or not lacking(russian, "красный")


def test_what_no_font_can_draw_is_said_and_named(capsys, monkeypatch):
    monkeypatch.setattr(draw, "FONTS", ())
    blank = Image.new("RGB", (100, 20), "white")
    panel([("the ball", blank)], title="“red”")
    assert capsys.readouterr().err == ""
    panel([("红色方块", blank), ("red", blank)], title="красный")
    assert "no font here has: а й к н р с ы 块 方 红 色." in capsys.readouterr().err


def test_many_images_stand_in_rows_each_with_its_caption_below():
    blank = Image.new("RGB", (60, 30), (0, 0, 0))
    four, nine = (panel([("red", blank)] * count, title="") for count in (4, 9))
    assert nine.width == four.width
    assert nine.height - four.height == 2 * (30 + 28)
    is_black = (np.asarray(nine) == 0).all(2)
    assert is_black.sum() == 9 * 60 * 30


def test_a_box_beyond_the_image_is_drawn_along_its_edge():
    pixels, colour = np.full((20, 30, 3), 128, np.uint8), (255, 0, 0)
    beyond = np.asarray(overlay(pixels, boxes=[([-13.0, -16.0, 50.0, 40.0], colour)], scale=1))
    whole = np.asarray(overlay(pixels, boxes=[([0.0, 0.0, 29.0, 19.0], colour)], scale=1))
    assert (beyond == whole).all() and (whole == colour).all(2).any()
