"""Boxes that a person has turned, as the upright boxes round them."""

import math

from reviewing.decisions import Box


def wrapped(box: Box, degrees: float, about: tuple[float, float]) -> Box:
    """The upright box round one that is turned clockwise about a point; all in one frame, whose y grows downwards."""
    x, y = about
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    left, top, right, bottom = box
    corners = [(across - x, down - y) for across in (left, right) for down in (top, bottom)]
    xs = [x + across * cosine - down * sine for across, down in corners]
    ys = [y + across * sine + down * cosine for across, down in corners]
    return min(xs), min(ys), max(xs), max(ys)
