"""What frozen layers make of images, computed once and kept from epoch to epoch as far as there is room."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from deixis.types import ImageMemory, LookAtImages

CHUNK = 16  # images that are looked at together

ReadImages = Callable[[Sequence[int]], UInt8[Tensor, "images 3 side side"]]  # by their numbers in a table


class MapStore:
    """Maps of the images of one table.

    The table's first images are kept, as many as there is room for, and looked at in chunks of neighbours; the others
    are looked at anew each time. So what a batch gets depends on nothing that came before it, not in its last bits
    either, and a run that was killed goes on to the same bytes.

    Args:
        count: Of the images.
        room: Bytes for all that is kept.
    """

    def __init__(self, read: ReadImages, *, count: int, room: int) -> None:
        self.read, self.count, self.room = read, count, room
        self._shelves: dict[Hashable, _Shelf] = {}

    def shelf(self, kind: Hashable, look: LookAtImages, *, kinds: int, views: int) -> "_Shelf":
        """Where maps of one kind lie; kinds have equal shares of the room."""
        if kind not in self._shelves:
            example = look(self.read([0]), 0)
            room = self.room // kinds // views
            size = min(self.count, room // sum(x.nbytes for x in example))
            self._shelves[kind] = _Shelf(example, size=size, views=views)
        return self._shelves[kind]


@dataclass(frozen=True)
class StoredImageMemory:
    """The images of one batch, and the store of what was made of them.

    Attributes:
        places: Their numbers in the table.
        shown: In which of `of` views each of them is.
    """

    store: MapStore
    places: Sequence[int]
    shown: Sequence[int]
    of: int = 1

    def views(self, shown: Int[Tensor, " images"], *, of: int) -> ImageMemory:
        """The same images, each in one of several views, of each that there was."""
        both = [before * of + now for before, now in zip(self.shown, shown.tolist(), strict=True)]
        return StoredImageMemory(self.store, self.places, both, self.of * of)

    @torch.no_grad()
    def maps(self, look: LookAtImages, *, kind: Hashable, kinds: int) -> list[Tensor]:
        """Maps of all images of the batch; `look` is asked for those alone that are not kept."""
        shelf = self.store.shelf(kind, look, kinds=kinds, views=self.of)
        asked = list(zip(self.places, self.shown, strict=True))
        kept = [row for row, (place, _) in enumerate(asked) if place < shelf.size]
        for chunk, view in sorted({(asked[row][0] // CHUNK, asked[row][1]) for row in kept} - shelf.filled):
            places = range(chunk * CHUNK, min(shelf.size, (chunk + 1) * CHUNK))
            shelf.put(chunk, view, look(self.store.read(places), view))
        order = kept
        parts: list[Sequence[Tensor]] = [shelf.take([asked[row] for row in kept])] if kept else []
        for view in sorted({view for place, view in asked if place >= shelf.size}):
            rows = [row for row, (place, shown) in enumerate(asked) if place >= shelf.size and shown == view]
            parts.append(look(self.store.read([asked[row][0] for row in rows]), view))
            order = order + rows
        if len(parts) == 1 and order == sorted(order):
            return list(parts[0])
        back = torch.tensor(order).argsort().to(parts[0][0].device)
        return [torch.cat(pieces).index_select(0, back) for pieces in zip(*parts, strict=True)]


class _Shelf:
    """Maps of one kind: an array per map, channels last, filled chunk by chunk."""

    def __init__(self, example: Sequence[Tensor], *, size: int, views: int) -> None:
        self.size = size
        self.filled: set[tuple[int, int]] = set()  # chunk, view
        self._arrays = [x.new_empty((views * size, *x.shape[2:], x.shape[1])) for x in example]

    def put(self, chunk: int, view: int, maps: Sequence[Tensor]) -> None:
        first = view * self.size + chunk * CHUNK
        for array, x in zip(self._arrays, maps, strict=True):
            array[first : first + len(x)] = x.permute(0, 2, 3, 1)
        self.filled.add((chunk, view))

    def take(self, asked: Sequence[tuple[int, int]]) -> list[Tensor]:
        rows = torch.tensor([view * self.size + place for place, view in asked], device=self._arrays[0].device)
        return [array.index_select(0, rows).permute(0, 3, 1, 2) for array in self._arrays]
