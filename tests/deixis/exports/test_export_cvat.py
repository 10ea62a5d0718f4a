"""CVAT's own decoder reads the masks; the XML holds what its importer asks for."""

import xml.etree.ElementTree as ET

import numpy as np
from cvat_sdk.masks import decode_mask
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deixis.exports.cvat import encode_crop, write
from tests.deixis.exports.labelled import HARD_TEXT, HEIGHT, WIDTH, exported, hard_rows, l_shape, ring_and_part, row


def mask_of(shape: ET.Element, width: int, height: int) -> np.ndarray:
    left, top, wide, high = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
    code = [int(run) for run in shape.attrib["rle"].split(",")]
    extent = [left, top, left + wide - 1, top + high - 1]
    return decode_mask([*code, *extent], image_width=width, image_height=height)


def attributes(shape: ET.Element) -> dict[str, str]:
    return {entry.attrib["name"]: entry.text or "" for entry in shape.iter("attribute")}


@given(st.tuples(st.integers(1, 30), st.integers(1, 30)).flatmap(lambda shape: arrays(bool, shape)))
def test_their_decoder_gives_every_mask_back(pixels):
    height, width = pixels.shape
    code = [*encode_crop(pixels), 0, 0, width - 1, height - 1]
    assert (decode_mask(code, image_width=width, image_height=height) == pixels).all()


def test_shapes_say_what_the_labels_say(tmp_path):
    root = ET.parse(exported(write, tmp_path, hard_rows()) / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    (label,) = root.findall("meta/task/labels/label")
    declared = {entry.findtext("name") for entry in label.findall("attributes/attribute")}
    assert {entry.findtext("input_type") for entry in label.findall("attributes/attribute")} == {"text"}
    first, second = root.findall("image")
    assert (first.attrib["name"], first.attrib["width"], first.attrib["height"]) == ("a/red & blue #1.jpg", "90", "60")
    assert [shape.tag for shape in first] == ["box", "mask", "box", "mask"]
    assert [shape.tag for shape in second] == ["box"]
    assert {shape.attrib["label"] for shape in [*first, *second]} == {label.findtext("name")}
    assert [shape.attrib["group_id"] for shape in first] == ["1", "1", "2", "2"]
    box = [float(first[0].attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr")]
    np.testing.assert_allclose(box, [50.123, 20.0, 90.0, 60.0], atol=0.05)
    assert (mask_of(first[1], WIDTH, HEIGHT) == l_shape()).all()
    assert (mask_of(first[3], WIDTH, HEIGHT) == ring_and_part()).all()
    for shape in first[:2]:
        values = attributes(shape)
        assert values.keys() <= declared
        assert values["expression"] == HARD_TEXT
        assert (float(values["score"]), values["sample_id"]) == (9.25, "s/1")


def test_what_xml_cannot_hold_becomes_a_space(tmp_path):
    text = "a\x00b\x0bc\r\nd\re\ud800f"
    out = exported(write, tmp_path, [row("s", 7, [0.0, 0.0, 9.0, 9.0], None, expression=text.replace("\ud800", ""))])
    (shape,) = ET.parse(out / "annotations.xml").getroot().findall("image/box")
    assert attributes(shape)["expression"] == "a b c\nd\nef"
