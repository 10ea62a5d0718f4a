"""The embedded world: reproducible, as described, and every phrase refers to one object, read independently."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from deixis.datasets.phrases import write_phrase
from deixis.datasets.refer_files import read_refer_folder
from deixis.datasets.scenes import ANGULAR, ROUND, draw_scene
from deixis.datasets.write_scenes import ScenesConfig, write_referring
from deixis.imaging.masks import decode_mask

pytestmark = pytest.mark.slow

COLOURS = {"red", "green", "blue", "yellow", "purple", "orange", "pink", "brown"}
TEXTURES = {"plain": "plain", "striped": "striped", "stripy": "striped", "dotted": "dotted", "spotted": "dotted"}
SIZES = {"small": "small", "little": "small", "big": "big", "large": "big"}
SIDES = {  # word -> which of x and y, and the sign of "further"
    "left": (0, -1), "leftmost": (0, -1), "right": (0, 1), "rightmost": (0, 1), "top": (1, -1), "upper": (1, -1),
    "highest": (1, -1), "bottom": (1, 1), "lower": (1, 1), "lowest": (1, 1),
}  # fmt: skip
FILLERS = {"that", "is", "and", "on", "at", "the", "far", "up", "down", "a"}
RELATIONS = {"above", "below", "underneath", "higher", "of", "than"}


def scene_at(index: int, *, seed: int = 0):
    return draw_scene(np.random.default_rng([seed, 9, index]))


@pytest.fixture(scope="module")
def scenes():
    return [scene_at(index) for index in range(80)]


def understand(phrase: str, objects) -> list[int]:
    """Objects that a reader who knows the words would point at."""
    fitting, sides = list(range(len(objects))), []
    for word in phrase.split():
        if word in COLOURS:
            fitting = [i for i in fitting if objects[i].colour == word]
        elif word in TEXTURES:
            fitting = [i for i in fitting if objects[i].texture == TEXTURES[word]]
        elif word in SIZES:
            fitting = [i for i in fitting if objects[i].size == SIZES[word]]
        elif word in ROUND + ANGULAR:
            fitting = [i for i in fitting if objects[i].category == word]
        elif word in SIDES:
            sides.append(SIDES[word])
        else:
            assert word in FILLERS, f"{phrase!r} has the unknown word {word!r}"
    for axis, sign in sides:
        places = [sign * objects[i].centre_xy[axis] for i in fitting]
        fitting = [i for i, place in zip(fitting, places, strict=True) if place > max(places) - 5]
    return fitting


def test_same_seed_and_index_same_scene():
    first, second = scene_at(3), scene_at(3)
    assert np.array_equal(first.pixels, second.pixels)
    assert [thing.box_xyxy for thing in first.objects] == [thing.box_xyxy for thing in second.objects]


@pytest.mark.parametrize("other", [scene_at(3, seed=1), scene_at(4)], ids=["another seed", "another index"])
def test_another_seed_or_index_another_scene(other):
    assert not np.array_equal(scene_at(3).pixels, other.pixels)


def test_the_world_has_the_stated_variety(scenes):
    things = [thing for scene in scenes for thing in scene.objects]
    assert {len(scene.objects) for scene in scenes} == {6, 7, 8}
    assert len({thing.category for thing in things}) >= 6
    assert {thing.colour for thing in things} == COLOURS
    assert {thing.texture for thing in things} == set(TEXTURES.values())
    assert {thing.size for thing in things} == set(SIZES.values())
    assert not set(ROUND) & set(ANGULAR) and {thing.category for thing in things} == {*ROUND, *ANGULAR}


def test_most_scenes_repeat_a_category(scenes):
    repeated = [max(Counter(thing.category for thing in scene.objects).values()) > 1 for scene in scenes]
    assert np.mean(repeated) > 0.8


def test_masks_are_disjoint_inside_the_image_and_their_boxes_tight(scenes):
    for scene in scenes:
        height, width, channels = scene.pixels.shape
        assert scene.pixels.dtype == np.uint8 and channels == 3
        masks = np.stack([thing.mask for thing in scene.objects])
        assert masks.dtype == bool and masks.shape[1:] == (height, width) and masks.sum(0).max() == 1
        for thing in scene.objects:
            left, top, right, bottom = thing.box_xyxy
            rows, columns = np.nonzero(thing.mask)
            assert (left, top, right, bottom) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_named_colours_are_painted(scenes):
    """Red, green and blue things have most of that colour; yellow ones have least blue."""
    for scene in scenes:
        for thing in scene.objects:
            mean = scene.pixels[thing.mask].mean(0)
            strongest = {"red": 0, "green": 1, "blue": 2}.get(thing.colour)
            assert strongest is None or mean.argmax() == strongest
            assert thing.colour != "yellow" or mean.argmin() == 2


def written(scenes, habit: str):
    """Every phrase that can be written in a habit: scene, target and text, three tries each."""
    rng = np.random.default_rng(11)
    for scene in scenes:
        for target in range(len(scene.objects)):
            for _ in range(3):
                phrase = write_phrase(rng, scene.objects, target, habit)
                if phrase is not None:
                    yield scene, target, phrase


@pytest.mark.parametrize("habit", ["appearance", "location"])
def test_every_phrase_refers_to_its_target_alone(scenes, habit):
    count = 0
    for scene, target, phrase in written(scenes, habit):
        assert understand(phrase, scene.objects) == [target], phrase
        count += 1
    assert count > 1000


def test_appearance_never_says_where(scenes):
    words = {word for _, _, phrase in written(scenes, "appearance") for word in phrase.split()}
    assert not words & (SIDES.keys() | RELATIONS)
    assert words >= COLOURS | SIZES.keys() | TEXTURES.keys() - {"plain"} | {*ROUND, *ANGULAR}


def test_location_mostly_says_where_and_relation_is_longer(scenes):
    phrases_of = {habit: [phrase for _, _, phrase in written(scenes, habit)] for habit in ("location", "relation")}
    placed = [bool(set(phrase.split()) & SIDES.keys()) for phrase in phrases_of["location"]]
    assert np.mean(placed) > 0.4
    related = [bool(set(phrase.split()) & (RELATIONS | SIDES.keys())) for phrase in phrases_of["relation"]]
    assert np.mean(related) > 0.4
    lengths = {habit: np.mean([len(phrase.split()) for phrase in phrases]) for habit, phrases in phrases_of.items()}
    assert lengths["relation"] > lengths["location"] + 2


def write(folder, *, seed: int, habit: str = "location"):
    (folder / "images").mkdir(parents=True)
    config = ScenesConfig(habit=habit, images={"train": 8, "val": 4, "testA": 10, "testB": 10})
    write_referring(folder, flavour="scenes", config=config, seed=seed)
    return read_refer_folder(folder, split_by="unc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("raw") / "scenes", seed=0)


def test_written_folder_is_whole(folder):
    images = {row["id"]: row for row in folder.instances["images"]}
    annotations = {row["id"]: row for row in folder.instances["annotations"]}
    assert len(images) == 32 and len(annotations) == len(folder.instances["annotations"])
    for row in images.values():
        with Image.open(folder.refs_path.parent / "images" / row["file_name"]) as image:
            assert image.size == (row["width"], row["height"])
    for row in annotations.values():
        left, top, width, height = row["bbox"]
        mask = decode_mask(row["segmentation"])
        assert mask.shape == (images[row["image_id"]]["height"], images[row["image_id"]]["width"])
        assert mask.sum() == row["area"] == mask[top : top + height, left : left + width].sum()
    for ref in folder.refs:
        assert annotations[ref["ann_id"]]["image_id"] == ref["image_id"] and ref["sentences"]
    sentence_ids = [sentence["sent_id"] for ref in folder.refs for sentence in ref["sentences"]]
    assert len(set(sentence_ids)) == len(sentence_ids)
    assert len({ref["ref_id"] for ref in folder.refs}) == len(folder.refs)


def test_splits_share_no_image_and_keep_to_their_categories(folder):
    names = {row["id"]: row["name"] for row in folder.instances["categories"]}
    categories = {
        split: {names[r["category_id"]] for r in folder.refs if r["split"] == split} for split in ("testA", "testB")
    }
    assert categories["testA"] and categories["testA"] <= set(ROUND)
    assert categories["testB"] and categories["testB"] <= set(ANGULAR)
    by_image = {(ref["image_id"], ref["split"]) for ref in folder.refs}
    assert Counter(split for _, split in by_image) == {"train": 8, "val": 4, "testA": 10, "testB": 10}
    assert len({image_id for image_id, _ in by_image}) == 32


def test_writing_again_gives_the_same_bytes_and_another_seed_other_ones(folder, tmp_path):
    again, other = write(tmp_path / "again", seed=0), write(tmp_path / "other", seed=1)
    pixels = [
        b"".join(path.read_bytes() for path in sorted((made.refs_path.parent / "images").iterdir()))
        for made in (folder, again, other)
    ]
    assert again.refs == folder.refs and again.instances == folder.instances
    assert pixels[0] == pixels[1] != pixels[2]
