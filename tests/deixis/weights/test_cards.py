"""Cards say what is published, and nothing else is let in."""

import pytest

from deixis.core.errors import ConfigError
from deixis.weights.cards import find_card, read_cards
from deixis.weights.exposure import NO_IMAGES, SHARES
from tests.deixis.weights.cards import write_card

KNOWN_SETS = {NO_IMAGES, "unknown"} | {name for shares in SHARES.values() for name in shares}


@pytest.fixture(scope="module")
def cards():
    return read_cards()


def test_every_model_that_the_papers_use_has_a_card(cards):
    kinds = {card.kind for card in cards.values()}
    assert kinds >= {
        "clip_vit", "dinov2_vit", "efficient_sam_vit", "clip_convnext", "sam", "mobile_sam", "efficient_sam", "yolov3",
        "ultralytics_heads", "mmdet_heads", "glove", "bert", "clip_text", "csp_darknet",
    }  # fmt: skip
    assert {"yolo11n", "yolo11x-seg", "yolov8m"} <= set(cards)  # families are told apart into their members
    assert cards["yolo11s-seg"].files[0].url.endswith("/yolo11s-seg.pt")


def test_files_of_different_models_do_not_get_in_each_others_way(cards):
    digests = {}
    for card in cards.values():
        for file in card.files:
            assert digests.setdefault(file.name, file.sha256) == file.sha256, file.name
            assert "{" not in file.name


def test_a_training_set_of_an_unlisted_name_is_meant(cards):
    unlisted = {entry.images for card in cards.values() for entry in card.trained_on} - KNOWN_SETS
    assert unlisted == {"coco_without_refer_evaluation"}  # its list is not published: unknown without one


def test_stock_detectors_are_said_to_have_seen_coco(cards):
    stock = [card for card in cards.values() if card.kind in ("ultralytics_heads", "mmdet_heads")]
    assert all(any(entry.images == "coco_train2017" for entry in card.trained_on) for card in stock)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        pytest.param({"lisence": "MIT"}, r'card has no setting "lisence" \(\'MIT\'\)\. Known: name, role', id="key"),
        pytest.param({"role": "helper"}, r"card\.role is 'helper'.*'detector'.*'segmenter'", id="role"),
        pytest.param(
            {"files": [{"name": "a.pt", "sha": "x"}]}, r'files\.0 has no setting "sha" \(\'x\'\)\. Known: name, sha256',
            id="key of a file",
        ),
        pytest.param({"files": [{"name": "a.pt", "sha256": "abc"}]}, r"files\.0\.sha256 is 'abc'", id="digest"),
        pytest.param({"files": [{"name": "../a.pt", "sha256": None}]}, r"name is '\.\./a\.pt'", id="path upwards"),
        pytest.param({"files": [{"name": "/a.pt", "sha256": None}]}, r"name is '/a\.pt'", id="absolute path"),
        pytest.param({"files": [{"name": "b/../../a", "sha256": None}]}, r"name is 'b/\.\./\.\./a'", id="hidden path"),
        pytest.param({"files": []}, r"no file or no training set", id="no file"),
        pytest.param({"trained_on": []}, r"no file or no training set", id="no training set"),
    ],
)  # fmt: skip
def test_bad_cards_are_refused(tmp_path, change, match):
    write_card(tmp_path, **change)
    with pytest.raises(ConfigError, match=match):
        read_cards(tmp_path)


def test_a_name_taken_twice_is_refused(tmp_path):
    write_card(tmp_path)
    write_card(tmp_path, file_name="other")
    with pytest.raises(ConfigError, match=r'the name "little" is taken'):
        read_cards(tmp_path)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    write_card(tmp_path)
    with pytest.raises(ConfigError, match=r'there is no card "large"\. Known: little\. .*large\.yaml'):
        find_card("large", tmp_path)
