"""CVAT: one `annotations.xml` in "CVAT for images 1.1".

Box and mask of a label are two shapes of one group. A mask's code runs row by row inside its own extent, background
first: it is not COCO's. The phrase is an attribute; its line ends become newlines, and control characters, which
XML cannot hold, spaces. Source: CVAT's page on the format; `cvat_sdk.masks`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from xml.sax.saxutils import XMLGenerator

import numpy as np
from jaxtyping import Bool

from deixis.exports.types import CATEGORY, Label, LabelledImage, Options, mask_extent, mask_pixels

ATTRIBUTES = ("expression", "score", "sample_id", "teacher")
NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(images: Iterable[LabelledImage], folder: Path, options: Options) -> None:
    """Write the file; where labels stand for objects, the texts of one stand on lines of their own."""
    with (folder / "annotations.xml").open("wb") as stream:
        xml = XmlLines(stream)
        with xml.element("annotations"):
            xml.leaf("version", "1.1")
            _declare(xml)
            group = 0
            for labelled in images:
                image = labelled.image
                size = {"width": str(image.width), "height": str(image.height)}
                with xml.element("image", {"id": str(image.number), "name": image.path} | size):
                    for label in labelled.labels:
                        group += 1
                        _write_label(xml, label, group)


class XmlLines:
    """Elements on lines of their own, written as they come."""

    def __init__(self, stream: BinaryIO) -> None:
        self._xml = XMLGenerator(stream, encoding="utf-8", short_empty_elements=True)
        self._xml.startDocument()

    @contextmanager
    def element(self, name: str, attributes: Mapping[str, str] | None = None) -> Iterator[None]:
        """An element that holds others."""
        self._start(name, attributes)
        self._xml.ignorableWhitespace("\n")
        yield
        self._xml.endElement(name)
        self._xml.ignorableWhitespace("\n")

    def leaf(self, name: str, text: str, attributes: Mapping[str, str] | None = None) -> None:
        """An element that holds text."""
        self._start(name, attributes)
        if text:
            self._xml.characters(_legal(text))
        self._xml.endElement(name)
        self._xml.ignorableWhitespace("\n")

    def _start(self, name: str, attributes: Mapping[str, str] | None) -> None:
        legal: Any = {key: _legal(value) for key, value in (attributes or {}).items()}  # typed as SAX's own mapping
        self._xml.startElement(name, legal)


def encode_crop(crop: Bool[np.ndarray, "height width"]) -> list[int]:
    """Lengths of runs, row by row, background first."""
    flat = np.concatenate([[False], crop.ravel()])
    edges = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], edges, [crop.size]])).tolist()


def _declare(xml: XmlLines) -> None:
    """The label and its attributes: CVAT refuses attributes that are not declared."""
    with xml.element("meta"), xml.element("task"), xml.element("labels"), xml.element("label"):
        xml.leaf("name", CATEGORY)
        xml.leaf("type", "any")
        with xml.element("attributes"):
            for name in ATTRIBUTES:
                with xml.element("attribute"):
                    for key, value in (
                        ("name", name), ("mutable", "False"), ("input_type", "text"), ("default_value", ""),
                        ("values", ""),
                    ):  # fmt: skip
                        xml.leaf(key, value)


def _write_label(xml: XmlLines, label: Label, group: int) -> None:
    shared = {"label": CATEGORY, "source": "auto", "occluded": "0", "z_order": "0", "group_id": str(group)}
    sides = zip(("xtl", "ytl", "xbr", "ybr"), (f"{side:.2f}" for side in label.box_xyxy), strict=True)
    with xml.element("box", shared | dict(sides)):
        _write_attributes(xml, label)
    pixels = mask_pixels(label)
    if pixels is None:
        return
    left, top, right, bottom = mask_extent(pixels)
    extent = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    code = ", ".join(map(str, encode_crop(pixels[top:bottom, left:right])))
    with xml.element("mask", shared | {"rle": code} | {key: str(value) for key, value in extent.items()}):
        _write_attributes(xml, label)


def _write_attributes(xml: XmlLines, label: Label) -> None:
    values = ("\n".join(label.expressions), repr(label.score), "\n".join(label.sample_ids), label.model_version)
    for name, value in zip(ATTRIBUTES, values, strict=True):
        xml.leaf("attribute", value, {"name": name})


def _legal(text: str) -> str:
    return NOT_IN_XML.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
