"""What a training step draws by chance, where several processes share a batch.

What concerns the whole batch (a side to resize to, who is turned, which phrases are contrasted) is drawn from a stream
that all have in common, through `drawn` and `drawn_rows`. All else, which is dropout, comes from torch's own numbers, a
stream for each process: else rows at one place of two slices would lose the same units. In one process there is one.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from deixis.training.ranks import place_of_rows, rank, ranks

V = TypeVar("V")
_common: list[list[Tensor]] = []  # the state of the common stream on each device, as `_state` gives it


def start_streams(*numbers: int) -> None:
    """Let the streams begin anew, by numbers that all processes have in common; nothing in one process."""
    if ranks() == 1:
        return
    torch.manual_seed(common_seed(*numbers))
    _common[:] = [_state()]
    torch.manual_seed(_seed(*numbers, 1 + rank()))


def common_seed(*numbers: int) -> int:
    """What the common stream begins with; one process that begins with it draws the same, where nothing drops out."""
    return _seed(*numbers, 0)


def drawn(draw: Callable[[], V]) -> V:
    """What `draw` draws: in all processes the same."""
    if ranks() == 1:
        return draw()
    own = _state()
    _restore(_common[0])
    try:
        return draw()
    finally:
        _common[:] = [_state()]
        _restore(own)


def drawn_rows(count: int, draw: Callable[[int], Any]) -> Any:
    """The rows of this process of what `draw` draws for the rows of all: something for each of its `count` rows."""
    if ranks() == 1:
        return draw(count)
    first, total = place_of_rows(count)
    return drawn(lambda: draw(total))[torch.arange(first, first + count)]


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _state() -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def _restore(state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state(state[1])
