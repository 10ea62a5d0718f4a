"""A set of any size for benchmarks: tiny images, phrases from a grammar, features and a teacher of either widths.

Every image has a file and every pair an id. All shards of the store are one file under many names, so that any number
of images takes the disk of one shard; its values are random, and so are the teacher's weights. What is timed and
counted does not depend on them.
"""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image

from deixis.batches.features import extract
from deixis.core.checkpoints import save_checkpoint
from deixis.core.config import read_section
from deixis.core.records import read_json, read_table, write_json, write_table
from deixis.language.text import build_vocabulary, normalise
from models.teachers.refclip import RefCLIP, RefCLIPConfig

ROOT = Path(__file__).parents[1]
NAME = "fabricated"
WIDTH, HEIGHT = 64, 48
COLOURS = "red green blue yellow purple orange white black".split()
SHAPES = "ball box star ring cone heart".split()
SIZES = ("", "big ", "small ")
PLACES = (
    "{}", "the {}", "{} on the left", "right {}", "top {}", "{} in the middle", "{} at the bottom",
    "second {} from the left", "{} left of the {other}", "{} above the {other}", "{} next to the {other}",
)  # fmt: skip
Widths = Literal["embedded", "paper"]


@dataclass(frozen=True)
class Shape:
    """Of a detector's features.

    Attributes:
        side: Of its square input, pixels.
        boxes: Of an image: coarse cells, boxes of each, numbers of a box.
        shard: Images of a shard.
    """

    side: int
    maps: dict[str, tuple[int, int, int]]
    boxes: tuple[int, int, int]
    shard: int


SHAPES_OF: dict[Widths, Shape] = {
    "embedded": Shape(128, {"coarse": (96, 8, 8), "middle": (48, 16, 16), "fine": (24, 32, 32)}, (64, 4, 13), 1000),
    "paper": Shape(416, {"coarse": (1024, 13, 13), "middle": (512, 26, 26), "fine": (256, 52, 52)}, (169, 3, 85), 50),
}
PARAMS = f"""seed: 0
datasets:
  {NAME}: {{adapter: pairs, source: pairs.jsonl, boxes: xyxy_abs}}
labels: {{masks: none}}
evaluation: {{resamples: 1000}}
"""


def fabricate(folder: Path, *, pairs: int, images: int, widths: Widths = "embedded") -> None:
    """Write the raw set, its settings, and a teacher; features follow once it is prepared (`write_features`)."""
    write_raw(folder / "raw", pairs=pairs, images=images)
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    write_teacher(folder / "teacher", widths)


def phrases() -> Iterator[str]:
    """Phrases in an order that mixes them, over and over; 63,360 read differently."""
    things = [f"{size}{colour} {shape}" for size, colour, shape in itertools.product(SIZES, COLOURS, SHAPES)]
    for number in itertools.count():
        thing, other = things[number * 5 % len(things)], things[number // len(things) % len(things)]
        yield PLACES[number % len(PLACES)].format(thing, other=other)


def write_raw(raw: Path, *, pairs: int, images: int) -> None:
    """Images of one colour each, and a line for every pair, those about one image together."""
    (raw / "images").mkdir(parents=True)
    for number in range(images):
        pixel = np.frombuffer(number.to_bytes(4, "big"), np.uint8)[1:]
        Image.new("RGB", (WIDTH, HEIGHT), tuple(pixel.tolist())).save(raw / "images" / f"{number:07d}.png")
    with (raw / "pairs.jsonl").open("w", encoding="utf-8") as stream:
        for number, text in zip(range(pairs), phrases(), strict=False):
            box = [1, 1, 9 + number % 50, 9 + number % 38]
            image = f"{number * images // pairs:07d}.png"
            stream.write(json.dumps({"image": image, "text": text, "id": f"p{number}", "box": box}) + "\n")


def write_teacher(folder: Path, widths: Widths) -> None:
    """RefCLIP with weights as drawn."""
    torch.manual_seed(0)
    config = RefCLIPConfig()  # the published one
    if widths == "embedded":
        config = read_section(ROOT / "params.yaml", "teachers.refclip.model", RefCLIPConfig)
    vocabulary = build_vocabulary([normalise(text) for text in itertools.islice(phrases(), 20_000)])
    card = {"teacher": "refclip", "model": asdict(config), "vocabulary": vocabulary, "seed": 0}
    save_checkpoint(RefCLIP(config, vocabulary), folder, config=card)


def write_features(images: Path, out: Path, *, widths: Widths = "embedded") -> None:
    """A detector's store of all images of images.parquet, by the store's own writer and then by links.

    Args:
        out: Folder for the stores.
    """
    table = read_table(images, columns=("image_id",), made_by="prepare")
    ids, shape, store = sorted(table["image_id"].tolist()), SHAPES_OF[widths], out / "detector"
    extract(
        range(min(shape.shard, len(ids))), partial(random_features, shape=shape), scratch=out / "scratch", out=store,
        meta={"model": "detector", "weights_sha256": "", "input_size": shape.side}, batch_size=shape.shard,
        shard_bytes=1,
    )  # fmt: skip
    meta = read_json(store / "meta.json", made_by="extract_features")
    meta["shards"] = [
        _link_shard(store, number, meta, ids, shape.shard) for number in range(-(-len(ids) // shape.shard))
    ]
    rows = [(image_id, *divmod(place, shape.shard)) for place, image_id in enumerate(ids)]
    write_table(pd.DataFrame(rows, columns=["image_id", "shard", "row"]), store / "index.parquet")
    write_json(meta, store / "meta.json")


def _link_shard(store: Path, number: int, meta: dict[str, Any], ids: list[Any], size: int) -> dict[str, Any]:
    """One more name for the first shard; the last shard may be shorter, and is written."""
    rows = min(size, len(ids) - number * size)
    for name in meta["arrays"] if number else ():
        first, path = store / f"shard-00000.{name}.npy", store / f"shard-{number:05d}.{name}.npy"
        if rows == size:
            os.link(first, path)
        else:
            np.save(path, np.load(first)[:rows])
    return {"rows": rows, "sha256": meta["shards"][0]["sha256"]}


def random_features(image_ids: Sequence[Any], *, shape: Shape) -> dict[str, np.ndarray]:
    """Maps, and of every cell boxes with their objectness and classes."""
    rng = np.random.default_rng(0)
    count = len(image_ids)
    arrays = {name: rng.standard_normal((count, *size)).astype(np.float16) for name, size in shape.maps.items()}
    boxes = rng.random((count, *shape.boxes), dtype=np.float32)
    boxes[..., :2] = shape.side * (0.2 + 0.6 * boxes[..., :2])  # in the image, which fills three quarters of the square
    boxes[..., 2:4] = shape.side * (0.06 + 0.3 * boxes[..., 2:4])
    return arrays | {"boxes": boxes}
