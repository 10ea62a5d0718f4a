"""What is kept of images: each is looked at once, and what a batch gets depends on nothing that came before."""

import pytest
import torch

from deixis.batches.image_memory import MapStore, StoredImageMemory

IMAGES = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
BYTES = 2 * 3 * 2 * 2 * 4  # of the two maps of one image


class Looker:
    """Makes two maps of the batch's images; remembers which rows it was asked for."""

    def __init__(self, places):
        self.images, self.asked = IMAGES[list(places)], []

    def __call__(self, rows):
        self.asked.append(rows.tolist())
        return self.images[rows], -self.images[rows]


def remembered(store, places, *, kind="a", kinds=1):
    look = Looker(places)
    maps = StoredImageMemory(store, places, count=4).maps(look, kind=kind, kinds=kinds)
    assert torch.equal(maps[0], IMAGES[list(places)]) and torch.equal(maps[1], -maps[0])
    return look.asked


def test_an_image_is_looked_at_alone_and_once():
    store = MapStore(room=4 * BYTES)
    assert remembered(store, [2, 0])[1:] == [[0], [1]]  # the first look tells the sizes
    assert remembered(store, [0, 3, 2]) == [[1]]
    assert remembered(store, [3, 2]) == []


@pytest.mark.parametrize("places", [(3, 0, 2, 1), (2, 3), (0, 1)])
def test_images_without_room_are_looked_at_anew_together(places):
    store = MapStore(room=2 * BYTES + 1)
    remembered(store, [0, 1, 2, 3])
    later = remembered(store, places)
    assert later == ([[row for row, place in enumerate(places) if place >= 2]] if max(places) >= 2 else [])


def test_who_has_room_does_not_depend_on_who_came_first():
    stores = [MapStore(room=2 * BYTES) for _ in range(2)]
    remembered(stores[0], [3, 2, 1])
    remembered(stores[0], [0])
    remembered(stores[1], [0, 1])
    assert [remembered(store, [0, 1, 2, 3]) for store in stores] == [[[2, 3]], [[2, 3]]]


def test_kinds_share_the_room_and_are_kept_apart():
    store = MapStore(room=4 * BYTES)
    remembered(store, [0, 1, 2, 3], kind="a", kinds=2)
    assert remembered(store, [0, 1], kind="b", kinds=2)[1:] == [[0], [1]]
    assert remembered(store, [0, 1, 2, 3], kind="a", kinds=2) == [[2, 3]]


def test_views_of_an_image_are_kept_apart():
    store = MapStore(room=8 * BYTES)

    def look_at(view):
        look = Looker([0, 1])
        memory = StoredImageMemory(store, [0, 1], count=4).views(torch.tensor(view), of=2)
        memory.maps(look, kind="a", kinds=1)
        return look.asked

    assert look_at([0, 0])[1:] == [[0], [1]]
    assert look_at([0, 1]) == [[1]]
    assert look_at([1, 1]) == [[0]]
    assert look_at([1, 0]) == []
