"""Label Studio's regions, and its masks, decoded bit by bit by the rule of its own reader.

That reader wants older libraries than ours, so it has an environment of its own (`tests/formats`).
"""

import json
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deixis.exports.brush_rle import encode_brush
from deixis.exports.label_studio import IMAGE_ADDRESS, share_of, write
from tests.deixis.exports.labelled import HARD_TEXT, HEIGHT, PATHS, WIDTH, exported, hard_rows, l_shape, ring_and_part


def decoded(rle: list[int], height: int, width: int) -> np.ndarray:
    """Header: 32 bits of count, 5 of value size, four times 4 of length sizes. Runs: equal?, which size, length."""
    bits, place = "".join(f"{byte:08b}" for byte in rle), 0

    def read(size: int) -> int:
        nonlocal place
        place += size
        return int(bits[place - size : place], 2)

    count, value_bits = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(value_bits)] * length if is_run else [read(value_bits) for _ in range(length)]
    assert set(bits[place:]) <= {"0"} and len(bits) - place < 8
    pixels = np.array(values).reshape(height, width, 4)
    assert (pixels == pixels[..., :1]).all() and set(values) <= {0, 255}
    return pixels[..., 3] == 255


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape)))
def test_every_mask_comes_back(pixels):
    assert (decoded(encode_brush(pixels), *pixels.shape) == pixels).all()


@pytest.mark.parametrize("drawn", [1, 2, 4, 5, 64, 65, 16384, 16385, 40000])
def test_runs_of_every_kind_come_back(drawn):
    pixels = np.zeros((200, 300), bool)
    pixels.ravel()[7 : 7 + drawn] = True
    assert (decoded(encode_brush(pixels), 200, 300) == pixels).all()


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2))
def test_scores_become_shares_in_the_same_order(scores):
    shares = [share_of(score) for score in sorted(scores)]
    assert shares == sorted(shares)
    assert 0 <= shares[0] and shares[-1] <= 1


def test_regions_say_what_the_labels_say(tmp_path):
    out = exported(write, tmp_path, hard_rows())
    controls = {control.attrib.get("name"): control for control in ET.parse(out / "labeling_config.xml").getroot()}
    tasks = json.loads((out / "tasks.json").read_text())
    assert [unquote(task["data"]["image"].removeprefix(IMAGE_ADDRESS)) for task in tasks] == [PATHS[7], PATHS[8]]
    assert "#" not in tasks[0]["data"]["image"]
    (prediction,) = tasks[0]["predictions"]
    assert prediction["score"] == share_of(-0.5)
    assert [region["meta"]["score"] for region in prediction["result"]] == [9.25] * 4 + [-0.5] * 4
    assert prediction["model_version"] == "dvin-c0ffee00"
    for region in prediction["result"]:
        control = controls[region["from_name"]]
        assert control.attrib["toName"] == region["to_name"] == controls["image"].attrib["name"]
        assert control.tag.lower() == region["type"]
        chosen = region["value"].get(region["type"], [])
        assert set(chosen) <= {label.attrib["value"] for label in control}
    regions = {(region["id"], region["type"]): region["value"] for region in prediction["result"]}
    box = regions["s/1/box", "rectanglelabels"]
    np.testing.assert_allclose([box["x"], box["y"]], [100 * 50.123 / 90, 100 * 20 / 60], atol=0.05)
    np.testing.assert_allclose([box["x"] + box["width"], box["y"] + box["height"]], [100, 100], atol=0.05)
    assert regions["s/1/box", "textarea"]["text"] == [HARD_TEXT]
    assert regions["s/1/mask", "textarea"]["text"] == [HARD_TEXT]
    for name, pixels in (("s/1", l_shape()), ("s/2", ring_and_part())):
        rle = regions[f"{name}/mask", "brushlabels"]["rle"]
        assert (decoded(rle, HEIGHT, WIDTH) == pixels).all()
