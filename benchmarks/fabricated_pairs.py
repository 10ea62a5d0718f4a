"""A set of any size for benchmarks: tiny images, phrases from a grammar, features and a teacher of embedded widths.

Every image has a file and every pair an id. All shards of the store are one file under many names, so that any number
of images takes the disk of one shard; its values are random, and so are the teacher's weights. What is timed and
counted does not depend on them.
"""

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
WIDTH, HEIGHT, SIDE, CLASSES = 64, 48, 128, 8
SHARD = 1000  # images
CELLS = 64
MAPS = {"coarse": (96, 8, 8), "middle": (48, 16, 16), "fine": (24, 32, 32)}
COLOURS = "red green blue yellow purple orange white black".split()
SHAPES = "ball box star ring cone heart".split()
SIZES = ("", "big ", "small ")
PLACES = (
    "{}", "the {}", "{} on the left", "right {}", "top {}", "{} in the middle", "{} at the bottom",
    "second {} from the left", "{} left of the {other}", "{} above the {other}", "{} next to the {other}",
)  # fmt: skip
PARAMS = f"""seed: 0
datasets:
  {NAME}: {{adapter: pairs, source: pairs.jsonl, boxes: xyxy_abs}}
labels: {{masks: none}}
evaluation: {{resamples: 1000}}
"""


def fabricate(folder: Path, *, pairs: int, images: int) -> None:
    """Write the raw set, its settings, and a teacher; features follow once it is prepared (`write_features`)."""
    write_raw(folder / "raw", pairs=pairs, images=images)
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    write_teacher(folder / "teacher")


def phrases() -> Iterator[str]:
    """Phrases in an order that mixes them, over and over; about 17,000 read differently."""
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


def write_teacher(folder: Path) -> None:
    """RefCLIP of the embedded widths with weights as drawn."""
    torch.manual_seed(0)
    config: RefCLIPConfig = read_section(ROOT / "params.yaml", "teachers.refclip.model", RefCLIPConfig)
    vocabulary = build_vocabulary([normalise(text) for text in itertools.islice(phrases(), 20_000)])
    card = {"teacher": "refclip", "model": asdict(config), "vocabulary": vocabulary, "seed": 0}
    save_checkpoint(RefCLIP(config, vocabulary), folder, config=card)


def write_features(images: Path, out: Path) -> None:
    """A detector's store of all images of images.parquet, by the store's own writer and then by links.

    Args:
        out: Folder for the stores.
    """
    table = read_table(images, columns=("image_id",), made_by="prepare")
    ids = sorted(table["image_id"].tolist())
    store = out / "detector"
    extract(
        range(min(SHARD, len(ids))), random_features, scratch=out / "scratch", out=store,
        meta={"model": "detector", "weights_sha256": "", "input_size": SIDE}, batch_size=SHARD, shard_bytes=1,
    )  # fmt: skip
    meta = read_json(store / "meta.json", made_by="extract_features")
    meta["shards"] = [link_shard(store, number, meta, ids) for number in range(-(-len(ids) // SHARD))]
    rows = [(image_id, place // SHARD, place % SHARD) for place, image_id in enumerate(ids)]
    write_table(pd.DataFrame(rows, columns=["image_id", "shard", "row"]), store / "index.parquet")
    write_json(meta, store / "meta.json")


def link_shard(store: Path, number: int, meta: dict[str, Any], ids: list[Any]) -> dict[str, Any]:
    """One more name for the first shard; the last shard may be shorter, and is written."""
    rows = min(SHARD, len(ids) - number * SHARD)
    for name in meta["arrays"]:
        first, path = store / f"shard-00000.{name}.npy", store / f"shard-{number:05d}.{name}.npy"
        if number and rows == SHARD:
            os.link(first, path)
        elif number:
            np.save(path, np.load(first)[:rows])
    return {"rows": rows, "sha256": meta["shards"][0]["sha256"]}


def random_features(image_ids: Any) -> dict[str, np.ndarray]:
    """Maps, and of every cell a box, its objectness and its classes."""
    rng = np.random.default_rng(0)
    count = len(image_ids)
    arrays = {name: rng.standard_normal((count, *shape)).astype(np.float16) for name, shape in MAPS.items()}
    boxes = rng.random((count, CELLS, 4, 5 + CLASSES), dtype=np.float32)
    boxes[..., :2] = SIDE * (0.2 + 0.6 * boxes[..., :2])  # within the image, which fills three quarters of the square
    boxes[..., 2:4] = 8 + 40 * boxes[..., 2:4]
    return arrays | {"boxes": boxes}
