"""Work in numbered pieces, each left whole in a scratch folder, so that many processes can share it and any can go on.

The variable DEIXIS_PIECE, as 2/4, has a process do every fourth piece from the third on and end there, without putting
anything into place. Whoever runs without it does what is still missing, and finishes.
"""

import os
import re
import sys
from collections.abc import Callable

from deixis.core.errors import ConfigError
from deixis.core.progress import say

PIECE = "DEIXIS_PIECE"
NO_PIECE = "0/0"  # its value for whoever goes before all shares, and makes what each of them needs


def do_pieces(count: int, is_there: Callable[[int], bool], do: Callable[[int], object]) -> None:
    """Do all pieces that are not there yet; where this process is to do some of them alone, do these and end it."""
    for number in range(count):
        if is_mine(number) and not is_there(number):
            do(number)
    end_of_share()


def is_mine(number: int) -> bool:
    """Whether a piece is one of those that this process is to do: all of them, unless DEIXIS_PIECE says otherwise."""
    share, shares = _share()
    return shares > 0 and number % shares == share


def is_share() -> bool:
    """Whether this process does some of the pieces alone, beside others; what all of them need was made before."""
    return _share()[1] > 1


def end_of_share() -> None:
    """End the process where it was to do some of the pieces alone, or none; nothing is put into place."""
    share, shares = _share()
    if shares != 1:
        say(f"share {share + 1} of {shares} is done" if shares else "ready for all shares")
        sys.exit(0)


def _share() -> tuple[int, int]:
    stated = os.environ.get(PIECE) or "0/1"
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", stated)
    share, shares = map(int, match.groups()) if match else (1, 1)
    if share >= shares and stated != NO_PIECE:
        raise ConfigError(
            f'{PIECE} is "{stated}". Allowed: K/N, the share K of 0 to N - 1, as 0/4 to 3/4. Fix it, or unset it'
        )
    return share, shares
