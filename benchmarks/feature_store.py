"""The feature store at the papers' size: opened under a small limit of open files, and read as fast as a bare map.

Run: python -m benchmarks.feature_store [--images 400] [--small 20000] [--open-files 256]
Batches are gathered as they travel to a device, in half precision; beside them the same rows are taken from one
memory-mapped file that holds nothing else. Both are read once before, so that neither waits for the disk.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from deixis.batches.features import FeatureStore, extract

PAPER = {"coarse": (1024, 13, 13), "middle": (512, 26, 26), "fine": (256, 52, 52)}  # a detector at 416 pixels
SMALL = {"coarse": (4, 2, 2), "middle": (4, 2, 2), "fine": (4, 2, 2)}
BATCH = 64


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--open-files", type=int, default=256)
    parser.add_argument("--batches", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        found = {
            "small images": options.small,
            "shards opened": open_many(Path(folder), options.small, options.open_files),
            "images of paper size": options.images,
            "share of a raw map's speed": round(share_of_raw(Path(folder), options.images, options.batches), 2),
        }
    print(json.dumps(found, indent=2))


def build(folder: Path, shapes: dict[str, tuple[int, ...]], images: int, *, per_shard: int) -> FeatureStore:
    """A store of random maps; every image has those of image 0, since reading them costs the same."""
    maps = {
        name: np.random.default_rng(0).random(shape, dtype=np.float32).astype(np.float16)
        for name, shape in shapes.items()
    }
    row_bytes = sum(values.nbytes for values in maps.values())

    def encode(image_ids: Sequence[int]) -> dict[str, np.ndarray]:
        return {name: np.repeat(values[None], len(image_ids), 0) for name, values in maps.items()}

    extract(
        range(images), encode, scratch=folder / "scratch", out=folder / "store", meta={},
        batch_size=per_shard, shard_bytes=per_shard * row_bytes,
    )  # fmt: skip
    return FeatureStore(folder / "store")


def open_many(folder: Path, images: int, open_files: int) -> int:
    """How many shards a store of small images had that was read under a limit of open files, 16 images to each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, hard))
    try:
        store = build(folder, SMALL, images, per_shard=16)
        everything = store.gather("fine", list(range(images)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(everything) == images
    return len(store.meta["shards"]) * len(SMALL)


def share_of_raw(folder: Path, images: int, batches: int) -> float:
    """Speed of gathering batches, over that of taking the same rows from one mapped file per map."""
    store = build(folder, PAPER, images, per_shard=64)
    raw = {}
    for name, shape in PAPER.items():
        store.gather(name, list(range(images))).numpy().tofile(folder / name)
        mapped = torch.from_file(str(folder / name), shared=False, size=images * int(np.prod(shape)), dtype=torch.half)
        raw[name] = mapped.view(images, *shape)
    draws = [
        np.random.default_rng(number).choice(images, min(BATCH, images), replace=False) for number in range(batches)
    ]
    ratios = []
    for rows in draws:
        ours = seconds(lambda rows=rows: [store.gather(name, rows.tolist()) for name in PAPER])
        theirs = seconds(lambda rows=rows: [raw[name].index_select(0, torch.from_numpy(rows)) for name in PAPER])
        ratios.append(theirs / ours)
    return median(ratios)


def seconds(work: Callable[[], object]) -> float:
    """Of wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
