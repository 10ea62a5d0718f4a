"""What frozen layers make of images, computed once and kept from epoch to epoch as far as there is room."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from deixis.types import ImageMemory, LookAtImages


class MapStore:
    """Room for maps of the images of one table.

    The first images have it, as many as fit; the others are looked at anew each time. So what is kept depends on the
    table alone, and a run that was killed goes on to the same bytes.

    Args:
        room: Bytes for all that is kept.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.shelves: dict[Hashable, _Shelf] = {}


@dataclass(frozen=True)
class StoredImageMemory:
    """The images of one batch, and the store of what was made of them.

    Attributes:
        places: Of each image of the batch, its number among all `count`.
    """

    store: MapStore
    places: Sequence[int]
    count: int

    def views(self, view: Int[Tensor, " images"], *, of: int) -> ImageMemory:
        """The same images, each in one of several views (turned or not), which are kept apart."""
        places = [place * of + shown for place, shown in zip(self.places, view.tolist(), strict=True)]
        return StoredImageMemory(self.store, places, self.count * of)

    @torch.no_grad()
    def maps(self, look: LookAtImages, *, kind: Hashable, kinds: int) -> list[Tensor]:
        """Maps of all images of the batch; `look` is asked for those alone that are not kept.

        An image to be kept is looked at by itself: beside others its last bits could be others.
        """
        shelf = self.store.shelves.get(kind)
        if shelf is None:
            example = look(torch.tensor([0]))
            shelf = self.store.shelves[kind] = _Shelf(example, room=self.store.room // kinds, most=self.count)
        for row, place in enumerate(self.places):
            if place in shelf.empty:
                shelf.put(place, look(torch.tensor([row])))
        kept = [row for row, place in enumerate(self.places) if place < shelf.size]
        others = [row for row, place in enumerate(self.places) if place >= shelf.size]
        if not kept:
            return list(look(torch.tensor(others)))
        stored = shelf.read([self.places[row] for row in kept])
        if not others:
            return stored
        order = torch.tensor([*kept, *others]).argsort().to(stored[0].device)
        anew = look(torch.tensor(others))
        return [torch.cat(pair).index_select(0, order) for pair in zip(stored, anew, strict=True)]


class _Shelf:
    """Maps of one kind: an array per map, channels last, filled image by image."""

    def __init__(self, example: Sequence[Tensor], *, room: int, most: int) -> None:
        self.size = min(most, room // sum(x.nbytes for x in example))
        self.empty = set(range(self.size))
        self._arrays = [x.new_empty((self.size, *x.shape[2:], x.shape[1])) for x in example]

    def put(self, place: int, maps: Sequence[Tensor]) -> None:
        for array, x in zip(self._arrays, maps, strict=True):
            array[place] = x[0].permute(1, 2, 0)
        self.empty.remove(place)

    def read(self, places: Sequence[int]) -> list[Tensor]:
        rows = torch.tensor(places, device=self._arrays[0].device)
        return [array.index_select(0, rows).permute(0, 3, 1, 2) for array in self._arrays]
