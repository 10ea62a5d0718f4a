"""What a model has seen: by id where ids are known, by name where not, and never a pass for want of knowledge."""

import pytest

from deixis.core.errors import DataError
from deixis.weights.exposure import EMBEDDED, LEVELS, ImageSet, TrainingSet, exposure, read_ids, worst

REFCOCO = ImageSet("coco_train2014", frozenset({1, 2, 3}))


@pytest.mark.parametrize(
    ("images", "labels", "level", "overlap", "basis"),
    [
        ("coco_train2014", "box", "box", 3, "by name"),
        ("coco_train2017", "mask", "mask", 3, "by name"),  # train2017 holds all of train2014
        ("coco_train2017", "none", "image_unlabelled", 3, "by name"),
        ("coco_train2014", "caption", "caption", 3, "by name"),
        ("coco_val2014", "box", "none", 0, "by name"),
        ("visual_genome", "box", "box", None, "by name"),  # half of it is COCO: some, nobody says which
        ("sa_1b", "mask", "none", 0, "by name"),
        ("no_images", "none", "none", 0, "by name"),
        ("unknown", "caption", "unknown", None, "unknown"),
        ("coco_without_refer_evaluation", "box", "unknown", None, "unknown"),
        (EMBEDDED, "box", "unknown", None, "unknown"),  # its ids are of another numbering
    ],
)
def test_by_name(images, labels, level, overlap, basis):
    result = exposure(REFCOCO, [TrainingSet(ImageSet(images), labels)])
    assert result == {"images": 3, "overlap": overlap, "level": level, "basis": basis}


@pytest.mark.parametrize(("ids", "overlap", "level"), [({2, 3, 9}, 2, "box"), ({8, 9}, 0, "none"), (set(), 0, "none")])
def test_ids_say_more_than_the_name(ids, overlap, level):
    training_set = TrainingSet(ImageSet("coco_train2017", frozenset(ids)), "box")
    assert exposure(REFCOCO, [training_set]) == {"images": 3, "overlap": overlap, "level": level, "basis": "by id"}


def test_ids_of_another_numbering_say_nothing():
    result = exposure(REFCOCO, [TrainingSet(ImageSet("iapr_tc12", frozenset({1, 2})), "box")])
    assert result["level"] == "unknown"
    nameless = ImageSet(None, frozenset({1, 2}))
    assert exposure(nameless, [TrainingSet(ImageSet(None, frozenset({1, 2})), "box")])["level"] == "unknown"


def test_referit_has_none_of_cocos_images_and_own_corpora_are_unknown():
    stock = [TrainingSet(ImageSet("coco_train2017"), "box")]
    assert exposure(ImageSet("iapr_tc12", frozenset({1})), stock)["level"] == "none"
    assert exposure(ImageSet(None, frozenset({1})), stock)["level"] == "unknown"


def test_no_published_model_has_seen_images_that_we_draw():
    drawn = ImageSet(EMBEDDED, frozenset({1, 2}))
    assert exposure(drawn, [TrainingSet(ImageSet("unknown"), "caption")])["level"] == "none"
    assert exposure(drawn, [TrainingSet(ImageSet(EMBEDDED, frozenset({2})), "mask")])["level"] == "mask"
    assert exposure(drawn, [TrainingSet(ImageSet(EMBEDDED), "mask")])["level"] == "unknown"


def test_the_worst_training_set_decides():
    clean, unknown = TrainingSet(ImageSet("sa_1b"), "mask"), TrainingSet(ImageSet("unknown"), "caption")
    boxes, images = TrainingSet(ImageSet("visual_genome"), "box"), TrainingSet(ImageSet("coco_train2014"), "none")
    assert exposure(REFCOCO, [clean, unknown])["level"] == "unknown"
    assert exposure(REFCOCO, [images, unknown])["level"] == "image_unlabelled"
    assert exposure(REFCOCO, [images, boxes, unknown])["level"] == "box"


def test_the_worst_of_several_models_is_of_the_highest_level_and_then_overlap():
    exposures = [{"level": level, "overlap": overlap} for level, overlap in (("box", None), ("caption", 9), ("box", 4))]
    assert worst(exposures) == {"level": "box", "overlap": 4}
    assert worst({"level": level, "overlap": 0} for level in LEVELS)["level"] == "expression_same_object"


def test_lists_hold_ids_or_file_names(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("72\n\nCOCO_train2014_000000000073.jpg\n000000000074.jpg\n train2017/000000000075.jpg \n")
    assert read_ids(path) == {72, 73, 74, 75}


def test_a_line_without_an_id_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("72\nimages of val\n")
    with pytest.raises(DataError, match=r"list\.txt, line 2: 'images of val' is no id"):
        read_ids(path)
