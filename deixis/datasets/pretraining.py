"""The detection split in memory: images, boxes, categories, masks and captions. No phrase refers to it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from deixis.core.errors import DataError
from deixis.imaging.images import ImageReader
from deixis.imaging.masks import decode_mask


@dataclass(frozen=True)
class Objects:
    """Objects of each image, padded to the most crowded one."""

    boxes_xyxy: Float[Tensor, "images objects 4"]  # pixels of the letterboxed input
    categories: Int[Tensor, "images objects"]
    valid: Bool[Tensor, "images objects"]


class PretrainingSet:
    """Annotations of one COCO folder; images are decoded on demand and remembered."""

    def __init__(self, folder: Path, *, side: int) -> None:
        files = read_instances(folder)
        images = pd.DataFrame(files["images"]).sort_values("id")
        images["path"] = images["file_name"]
        self.image_ids: list[int] = images["id"].tolist()
        self.reader = ImageReader(images.rename(columns={"id": "image_id"}), root=folder / "images", side=side)
        self._by_image: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in self.image_ids}
        for annotation in files["annotations"]:
            self._by_image[annotation["image_id"]].append(annotation)
        category_ids = sorted(category["id"] for category in files["categories"])
        self._category_index = {category_id: index for index, category_id in enumerate(category_ids)}
        self.num_categories = len(category_ids)
        self._folder = folder

    def objects(self) -> Objects:
        """Boxes and categories of every image, in the order of `image_ids`."""
        most = max(len(annotations) for annotations in self._by_image.values())
        boxes = torch.zeros(len(self.image_ids), most, 4)
        categories = torch.zeros(len(self.image_ids), most, dtype=torch.long)
        valid = torch.zeros(len(self.image_ids), most, dtype=torch.bool)
        for row, image_id in enumerate(self.image_ids):
            annotations = self._by_image[image_id]
            xywh = torch.tensor([annotation["bbox"] for annotation in annotations], dtype=torch.float32)
            xyxy = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
            boxes[row, : len(xyxy)] = self.reader.letterbox(image_id).boxes_to_input(xyxy)
            names = [self._category_index[annotation["category_id"]] for annotation in annotations]
            categories[row, : len(names)] = torch.tensor(names)
            valid[row, : len(names)] = True
        return Objects(boxes, categories, valid)

    def ids_of(self, rows: Int[Tensor, " rows"]) -> list[int]:
        """Ids of some images, by their places in `image_ids`."""
        return [self.image_ids[row] for row in rows.tolist()]

    def squares(self, rows: Int[Tensor, " rows"]) -> UInt8[Tensor, "rows 3 side side"]:
        """Letterboxed images of some images, by their places in `image_ids`."""
        return self.reader.squares(self.ids_of(rows))

    def masks(self, image_id: int) -> list[np.ndarray]:
        """Exact masks in stored pixels, bool [height, width], in annotation order."""
        return [decode_mask(annotation["segmentation"]) for annotation in self._by_image[image_id]]

    def captions(self) -> list[list[str]]:
        """Captions of each image, in the order of `image_ids`."""
        stored = json.loads((self._folder / "captions.json").read_text(encoding="utf-8"))["annotations"]
        by_image: dict[int, list[str]] = {image_id: [] for image_id in self.image_ids}
        for row in stored:
            by_image[row["image_id"]].append(row["caption"])
        return [by_image[image_id] for image_id in self.image_ids]


def read_instances(folder: Path) -> dict[str, Any]:
    """The folder's `instances.json`."""
    path = folder / "instances.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: missing. It is written by make_pretraining; run: dvc repro make_pretraining"
        ) from None
