"""Small seeded inputs for tests."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from ruamel.yaml import YAML

from deixis.boxes import cxcywh_to_xyxy
from deixis.types import SCALES, CandidateBoxes, Detections, StudentBatch, TeacherBatch
from models.teachers.dvin import DViN, DViNConfig
from models.teachers.refclip import RefCLIP, RefCLIPConfig
from models.text.gru_attention import TextConfig
from training.files import TrainingFiles

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "ball", "big", "left", "red", "star"]
TINY_TEXT = TextConfig(length=6, word_width=8, width=16, heads=2, feedforward=16, layers=1, pool_hidden=8, dropout=0.0)
EXPERTS = {"contrastive_vit": 8, "distilled_vit": 8, "segmentation_vit": 4, "contrastive_convnet": 8}


class MadeUpExpertMaps:
    """Seeded maps; remembers which expert was asked for how many rows."""

    def __init__(self, batch: int, *, side: int = 4) -> None:
        generator = torch.Generator().manual_seed(7)
        self.stored = {
            name: torch.randn(batch, channels, side, side, generator=generator) for name, channels in EXPERTS.items()
        }
        self.asked: dict[str, int] = {}

    def maps(self, expert: str, rows: torch.Tensor) -> torch.Tensor:
        self.asked[expert] = self.asked.get(expert, 0) + len(rows)
        return self.stored[expert][rows]


def teacher_batch(
    batch: int = 4, *, side: int = 4, seed: int = 0, scales: tuple[str, ...] = ("coarse",)
) -> TeacherBatch:
    generator = torch.Generator().manual_seed(seed)
    maps = tuple(
        torch.randn(batch, channels, side * scale, side * scale, generator=generator)
        for channels, scale in ((16, 1), (8, 2), (4, 4))
    )
    cells = sum((side * 2 ** SCALES.index(scale)) ** 2 for scale in scales)
    boxes = torch.rand(batch, cells, 4, 7, generator=generator)
    boxes[..., :4] = 8 + 40 * boxes[..., :4]
    tokens = torch.randint(3, len(VOCABULARY), (batch, TINY_TEXT.length), generator=generator)
    tokens[:, 3:] = 0
    return TeacherBatch(tokens, torch.arange(batch), Detections(maps, boxes), MadeUpExpertMaps(batch, side=side))


def refclip(**changes: Any) -> RefCLIP:
    config = RefCLIPConfig(
        detector_channels=(16, 8, 4), fused_width=16, joint_width=8, keep_fraction=0.3, text=TINY_TEXT
    )
    torch.manual_seed(0)
    return RefCLIP(replace(config, **changes), VOCABULARY)


def dvin(**changes: Any) -> DViN:
    config = DViNConfig(
        detector_channels=(16, 8, 4), fused_width=16, joint_width=8, keep_fraction=0.3, text=TINY_TEXT,
        experts=EXPERTS, code_width=8,
    )  # fmt: skip
    torch.manual_seed(0)
    return DViN(replace(config, **changes), VOCABULARY)


def student_batch(batch: int = 4, *, side: int = 64, seed: int = 0) -> StudentBatch:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(batch, 4, generator=generator) * 0.2 + torch.tensor([0.4, 0.4, 0.2, 0.2])
    tokens = torch.randint(3, len(VOCABULARY), (batch, 6), generator=generator)
    return StudentBatch(
        squares=torch.randint(0, 256, (batch, 3, side, side), generator=generator, dtype=torch.uint8),
        content_xyxy=torch.tensor([[0.0, 0.0, side, side]]).repeat(batch, 1),
        tokens=tokens,
        image_of=torch.arange(batch),
        boxes_norm=boxes,
    )


def with_candidates(batch: StudentBatch, *, count: int = 4, seed: int = 0) -> StudentBatch:
    """The same phrases, with boxes to choose from: the first overlaps the image's first target, the last is padding."""
    assert batch.boxes_norm is not None
    generator = torch.Generator().manual_seed(seed)
    side, images = batch.squares.shape[-1], len(batch.squares)
    low = torch.rand(images, count, 2, generator=generator) * 0.6 * side
    boxes = torch.cat([low, low + (0.1 + 0.2 * torch.rand(images, count, 2, generator=generator)) * side], -1)
    for image in range(images):
        rows = (batch.image_of == image).nonzero().flatten()
        for place, row in enumerate(rows[: count - 1].tolist()):
            boxes[image, place] = cxcywh_to_xyxy(batch.boxes_norm[row]) * side
    valid = torch.ones(images, count, dtype=torch.bool)
    valid[:, -1] = False
    kinds = torch.randint(0, 2, (images, count), generator=generator)
    return replace(batch, candidates=CandidateBoxes(boxes, kinds, valid))


def alone_in_batch(batch: StudentBatch, row: int) -> StudentBatch:
    """One phrase of a batch, with its image."""
    image, given = batch.image_of[row : row + 1], batch.candidates
    return StudentBatch(
        squares=batch.squares[image],
        content_xyxy=batch.content_xyxy[image],
        tokens=batch.tokens[row : row + 1],
        image_of=torch.zeros(1, dtype=torch.long),
        candidates=None
        if given is None
        else CandidateBoxes(given.boxes_xyxy[image], given.categories[image], given.valid[image]),
    )


def refer_folder(folder: Path, *, images: int = 3, seed: int = 0) -> Path:
    """A RefCOCO folder with one object and two phrases per image; image 0 is train, 1 val, the others testA."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    instances: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "ball"}],
        "licenses": [],
    }
    refs = []
    for number in range(images):
        name = f"{number:06d}.jpg"
        pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name, quality=90)
        instances["images"].append({"id": number, "file_name": name, "width": 64, "height": 48})
        box = [10.0, 8.0, 20.0, 16.0]
        corners = [10, 8, 30, 8, 30, 24, 10, 24]
        instances["annotations"].append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": box,
                "area": 320,
                "segmentation": [corners],
                "iscrowd": 0,
            }
        )
        split = ("train", "val")[number] if number < 2 else "testA"
        sentences = [{"sent_id": 2 * number + k, "raw": f"red ball {k}", "sent": "", "tokens": []} for k in range(2)]
        refs.append(
            {
                "ref_id": number,
                "ann_id": number,
                "image_id": number,
                "category_id": 1,
                "split": split,
                "sentences": sentences,
            }
        )
    write_refer(folder, instances, refs)
    return folder


def write_refer(folder: Path, instances: Any, refs: Any) -> None:
    import json

    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def read_refer(folder: Path) -> tuple[Any, Any]:
    import json

    instances = json.loads((folder / "instances.json").read_text())
    return instances, pickle.loads((folder / "refs(unc).p").read_bytes())


def write_pairs(folder: Path, refs: list[int | None]) -> Path:
    """A phrase per ref, two to an image."""
    table = pd.DataFrame(
        {
            "sample_id": [str(number) for number in range(len(refs))],
            "image_id": [number // 2 for number in range(len(refs))],
            "expression": "red star",
            "text": "red star",
            "split": "train",
            "ref_id": pd.array(refs, dtype="Int64"),
        }
    )
    table.to_parquet(folder / "pairs.parquet")
    return folder / "pairs.parquet"


def write_params(folder: Path, **changes: object) -> Path:
    """params.yaml with some settings, named by their dotted path, changed."""
    yaml = YAML()
    params = yaml.load(Path(__file__).parents[1] / "params.yaml")
    for path, value in changes.items():
        *sections, name = path.split(".")
        place = params
        for section in sections:
            place = place[section]
        place[name] = value
    yaml.dump(params, folder / "params.yaml")
    return folder / "params.yaml"


def training_files(folder: Path, *, params: Path, **places: Path) -> TrainingFiles:
    """Files of a training in a test's folder, but for those that are named."""
    usual = {"image_root": folder, "weights": folder, "images": folder / "images.parquet"}
    usual |= {"out": folder / "out", "curves": folder / "curves.csv"}
    return TrainingFiles(**(usual | places), params=params)
