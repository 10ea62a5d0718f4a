"""CVAT: `annotations.xml` in "CVAT for images 1.1".

Shapes come back without ids, but with our attributes. CVAT's own `source` is not asked: it says `manual` of copies and
`semi-auto` of what was only looked at closely. A task's last change stands for the time of every decision in it.
Sources: cvat-ai/cvat, issues 3916, 9172, 10726.
"""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

from reviewing.decisions import Box
from reviewing.returned.rotated import wrapped
from reviewing.returned.types import Note, ReturnedFile, ReturnedImage, Shape, four, from_lines, utc

SIDES = ("xtl", "ytl", "xbr", "ybr")
NAME = "annotations.xml"


class _WithoutEntities(ET.TreeBuilder):
    """Builds a tree of files that declare nothing: entities can name other files, and grow without end."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE, which may define entities; files of CVAT have none")


def read(path: Path) -> ReturnedFile:
    """Read the file, or the `annotations.xml` of a folder."""
    path = path / NAME if path.is_dir() else path
    root = ET.parse(path, ET.XMLParser(target=_WithoutEntities())).getroot()
    if root.tag != "annotations" or root.find("track") is not None:
        raise ValueError(f"its root is {root.tag}, or it holds tracks of a video")
    notes: list[Note] = []
    images = tuple(_image(element, notes) for element in root.iter("image"))
    who = root.findtext(".//meta//assignee/username")
    when = root.findtext(".//meta//updated") or root.findtext(".//meta//dumped")
    return ReturnedFile(images, tuple(notes), who=who or None, when=utc(when))


def _image(element: ET.Element, notes: list[Note]) -> ReturnedImage:
    name = element.attrib["name"]
    size = int(element.attrib["width"]), int(element.attrib["height"])
    shapes = [_shape(child, name, notes) for child in element if child.find("attribute") is not None or _is_box(child)]
    return ReturnedImage(name=name, shapes=tuple(shapes), size_wh=size)


def _is_box(element: ET.Element) -> bool:
    return element.tag == "box"


def _shape(element: ET.Element, image: str, notes: list[Note]) -> Shape:
    values = {child.get("name"): (child.text or "").strip() for child in element.iter("attribute")}
    ids, phrases = from_lines(values.get("sample_id"), values.get("expression"))
    box = _box(element) if _is_box(element) else None
    if _is_box(element) and _turned(element):
        notes.append(Note(image, ", ".join(ids or phrases), "turned: taken as the upright box round it"))
    return Shape(box, ids, phrases, model=values.get("teacher") or None)


def _box(element: ET.Element) -> Box:
    """Turned boxes are turned about their middle."""
    left, top, right, bottom = four(element.attrib[side] for side in SIDES)
    middle = (left + right) / 2, (top + bottom) / 2
    degrees = _turned(element)
    return wrapped((left, top, right, bottom), degrees, middle) if degrees else (left, top, right, bottom)


def _turned(element: ET.Element) -> float:
    """Degrees, from 0 to 360."""
    degrees = float(element.get("rotation", 0))
    if not math.isfinite(degrees):
        raise ValueError(f"a box is turned by {degrees} degrees")
    return degrees % 360
