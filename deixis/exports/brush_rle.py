"""Label Studio's run-length code of brush masks.

Its own encoder is a package of its own that nobody maintains any more, and walks over single bits; what it writes for a
mask is what stands here. Source of the format: label_studio_converter.brush, whose decoder is the test of this one.
"""

import numpy as np
from jaxtyping import Bool

VALUE_BITS = 8
LENGTH_BITS = 3, 4, 8, 16  # of a run's length less one, by the run's kind
CHANNELS = 4  # every pixel is four equal values


def encode_brush(pixels: Bool[np.ndarray, "height width"]) -> list[int]:
    """Bytes of the code: a header, then runs of equal values, row by row."""
    values = pixels.ravel()
    edges = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate([[0], edges])
    lengths = CHANNELS * np.diff(np.concatenate([starts, [len(values)]]))
    bits = [f"{CHANNELS * len(values):032b}", f"{VALUE_BITS - 1:05b}", *(f"{size - 1:04b}" for size in LENGTH_BITS)]
    for length, drawn in zip(lengths.tolist(), values[starts].tolist(), strict=True):
        bits += _runs(length, "1" * VALUE_BITS if drawn else "0" * VALUE_BITS)
    whole = "".join(bits)
    whole += "0" * (-len(whole) % 8)
    return list(int(whole, 2).to_bytes(len(whole) // 8, "big"))


def _runs(length: int, value: str) -> list[str]:
    """One stretch of equal values as runs of the shortest kind that holds it; longer ones are split."""
    codes = []
    longest = 1 << LENGTH_BITS[-1]
    while length > 0:
        part = min(length, longest)
        kind = next(kind for kind, size in enumerate(LENGTH_BITS) if part <= 1 << size)
        codes.append(f"1{kind:02b}{part - 1:0{LENGTH_BITS[kind]}b}{value}")
        length -= part
    return codes
