"""What is kept of images: each is looked at once, and what a batch gets depends on nothing that came before."""

import pytest
import torch

from deixis.batches import image_memory
from deixis.batches.image_memory import MapStore, StoredImageMemory

IMAGES = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
BYTES = 2 * IMAGES[0].nbytes  # of the two maps of one image


@pytest.fixture(autouse=True)
def pairs_of_images(monkeypatch):
    monkeypatch.setattr(image_memory, "CHUNK", 2)


class World:
    """Images, and the numbers of those that were looked at, call by call."""

    def __init__(self, room: int):
        self.looks: list[list[int]] = []
        self.store = MapStore(self.read, count=5, room=room)

    def read(self, places):
        self.looks.append(list(places))
        return IMAGES[list(places)]

    def maps(self, places, shown=None, *, of=1, kind="a", kinds=1):
        """The calls that a batch takes."""
        memory = StoredImageMemory(self.store, places, [0] * len(places))
        if shown is not None:
            memory = memory.views(torch.tensor(shown), of=of)
        before = len(self.looks)
        found = memory.maps(lambda x, view: (x + view, -x), kind=kind, kinds=kinds)
        expected = IMAGES[list(places)]
        assert torch.equal(found[0], expected + torch.tensor(shown or [0] * len(places)).view(-1, 1, 1, 1))
        assert torch.equal(found[1], -expected)
        return self.looks[before:]


def test_images_are_looked_at_once_with_their_neighbours():
    world = World(room=5 * BYTES)
    assert world.maps([3, 0]) == [[0], [0, 1], [2, 3]]  # the first look tells the sizes
    assert world.maps([4, 1, 2]) == [[4]]
    assert world.maps([2, 4, 0]) == []


@pytest.mark.parametrize(("places", "anew"), [((4, 0, 2, 1), [[4]]), ((3, 4), [[3, 4]]), ((1, 0, 2), [])])
def test_images_without_room_are_looked_at_anew(places, anew):
    world = World(room=3 * BYTES + 1)
    world.maps([0, 1, 2, 3, 4])
    assert world.maps(places) == anew


def test_who_is_kept_and_in_which_company_does_not_depend_on_who_came_first():
    one, other = World(room=3 * BYTES), World(room=3 * BYTES)
    looked = [one.maps([4, 2]), one.maps([1, 3]), other.maps([1, 2])]
    assert looked == [[[0], [2], [4]], [[0, 1], [3]], [[0], [0, 1], [2]]]


def test_kinds_share_the_room_and_are_kept_apart():
    world = World(room=4 * BYTES)
    world.maps([0, 1, 2], kind="a", kinds=2)
    assert world.maps([0, 1], kind="b", kinds=2) == [[0], [0, 1]]
    assert world.maps([0, 1, 2], kind="a", kinds=2) == [[2]]


def test_views_of_an_image_are_kept_apart():
    world = World(room=10 * BYTES)
    assert world.maps([0, 1], [0, 0], of=2) == [[0], [0, 1]]
    assert world.maps([0, 1], [0, 1], of=2) == [[0, 1]]
    assert world.maps([1, 0], [1, 1], of=2) == []


def test_views_of_images_without_room_come_in_the_order_of_the_batch():
    world = World(room=2 * BYTES)
    assert world.maps([4, 0, 3, 2], [1, 1, 0, 1], of=2) == [[0], [0], [3], [4, 2]]
