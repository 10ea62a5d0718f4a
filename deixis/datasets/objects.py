"""Every annotated object of every image, whether a phrase refers to it or not."""

from collections.abc import Mapping
from typing import Any

from deixis.datasets.images_by_id import SoundImage
from deixis.datasets.tables import id_key, is_whole
from deixis.datasets.targets import BoxConvention, four_numbers, read_corners


def read_objects(
    annotations: list[Any], sound: Mapping[str, SoundImage], convention: BoxConvention
) -> list[tuple[Any, ...]]:
    """Corners and category of every annotated object, for each image.

    Largest first, so that the order cannot tell which objects phrases refer to; without those whose box is no box.
    """
    objects: dict[str, list[tuple[float, list[float], int]]] = {key: [] for key in sound}
    for annotation in annotations:
        key = id_key(annotation.get("image_id")) if isinstance(annotation, dict) else None
        if key not in objects:
            continue
        try:
            left, top, right, bottom = corners = read_corners(four_numbers(annotation.get("bbox")), convention)
        except ValueError:
            continue
        size, category = (right - left) * (bottom - top), annotation.get("category_id")
        if left < right and top < bottom and size < float("inf") and is_whole(category):
            objects[key].append((-size, corners, category))
    rows = []
    for key, things in objects.items():
        things.sort()
        rows.append((sound[key].image_id, [x for _, box, _ in things for x in box], [kind for *_, kind in things]))
    return rows
