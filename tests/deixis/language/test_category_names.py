"""Other names of categories: of those that a card lists, each name once."""

from deixis.language.category_names import OTHER_NAMES, names_of
from deixis.weights.cards import find_card
from models.teachers.zero_shot import ZeroShotConfig


def test_a_category_goes_by_its_own_name_first():
    assert names_of("airplane") == ("airplane", "plane", "jet", "aircraft", "airliner")
    assert names_of("zebra") == ("zebra",) and names_of("star of paper") == ("star of paper",)


def test_names_belong_to_categories_of_the_published_detectors():
    for card in ("yolox-nano", "yolox-s"):
        categories = find_card(card).categories
        assert set(OTHER_NAMES) <= set(categories) and len(set(categories)) == 80
        names = [name for category in categories for name in names_of(category)]
        assert (len(categories), len(names)) == (ZeroShotConfig().num_classes, ZeroShotConfig().num_names)
    assert all(name == name.strip().lower() and name for name in names)


def test_no_category_has_a_name_twice_or_the_name_of_another():
    for category in OTHER_NAMES:
        names = names_of(category)
        assert len(set(names)) == len(names)
        assert not set(names[1:]) & set(OTHER_NAMES)
