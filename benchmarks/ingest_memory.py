"""Memory of an ingest of own pairs at ten thousand and at a million rows: it must not grow with them.

One row in a hundred is bad, in several ways in turn, and every good one must be kept.

Each ingest runs in a process of its own, which reports its highest resident memory before it begins (Python with the
libraries loaded) and after. The corpora are made in processes of their own too, since a process begins with its
parent's highest mark.

run     python -m benchmarks.ingest_memory [--small N] [--large N] [--layout FORMAT] [--out FILE]
"""

import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cyclopts import App
from PIL import Image

from deixis.core.progress import say
from deixis.core.records import write_json
from deixis.datasets.pairs import PairsAdapter

KIBIBYTE = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss
ROWS_AT_A_TIME = 10_000
SHAPES = ("ball", "cube", "cone", "ring", "star")
BAD_EVERY = 100
BAD = ({"text": ""}, {"image": "nowhere.png"}, {"id": "x" * 300}, {"text": "word " * 3000}, {"image": "../out.png"})

app = App(name="python -m benchmarks.ingest_memory", version_flags=[])


@app.command(name="make")
def make_corpus(raw: Path, *, rows: int, images: int, layout: Literal["jsonl", "csv", "parquet"]) -> None:
    """A corpus of tiny distinct images and distinct phrases with ids and boxes, and of bad rows among them."""
    (raw / "images").mkdir(parents=True)
    for number in range(images):
        pixels = np.frombuffer(number.to_bytes(4, "big") * 48, np.uint8).reshape(8, 8, 3)
        Image.fromarray(pixels).save(raw / "images" / f"{number:07d}.png")
    if layout == "parquet":
        _write_parquet(raw / "pairs.parquet", rows, images)
        return
    with (raw / f"pairs.{layout}").open("w", encoding="utf-8") as stream:
        if layout == "csv":
            stream.write("image,text,id,box,group\n")
        for row in _rows(rows, images):
            if layout == "jsonl":
                stream.write(json.dumps(row) + "\n")
            else:
                stream.write(f'{row["image"]},{row["text"]},{row["id"]},"{row["box"]}",{row["group"]}\n')


def _rows(rows: int, images: int) -> Iterator[dict[str, Any]]:
    for number in range(rows):
        row = {
            "image": f"{number % images:07d}.png",
            "text": f"the {SHAPES[number % 5]} with the number {number} left of the door",
            "id": f"phrase-{number}",
            "box": [1, 1, 2 + number % 5, 6],
            "group": number % 3,
        }
        which, rest = divmod(number, BAD_EVERY)
        yield row if rest else row | BAD[which % len(BAD)]


def _write_parquet(path: Path, rows: int, images: int) -> None:
    source = _rows(rows, images)
    with pq.ParquetWriter(path, pa.Table.from_pylist([next(_rows(1, 1))]).schema) as writer:
        for start in range(0, rows, ROWS_AT_A_TIME):
            part = [next(source) for _ in range(min(ROWS_AT_A_TIME, rows - start))]
            writer.write_table(pa.Table.from_pylist(part))


@app.command
def once(raw: Path, out: Path) -> None:
    """Ingest one corpus and print what it took, as JSON."""
    before, started = _highest(), time.perf_counter()
    config = PairsAdapter.Config(boxes="xyxy_abs", max_quarantined=0.5)
    PairsAdapter(config).ingest(raw=raw, out=out, dataset="memory")
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({"baseline_bytes": before, "peak_bytes": _highest(), "seconds": seconds}))


def _highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE


@app.default
def ingest_memory(
    *,
    small: int = 10_000,
    large: int = 1_000_000,
    rows_per_image: int | None = None,
    layout: Literal["jsonl", "csv", "parquet"] = "jsonl",
    out: Path = Path("benchmarks/ingest_memory.json"),
) -> None:
    """Measure both sizes and write the ratio of their peaks; ends where a good row is lost.

    Args:
        rows_per_image: By default 200 images whatever the number of rows, so that decoding does not dominate.
    """
    measured: dict[str, Any] = {}
    for name, rows in (("small", small), ("large", large)):
        images = max(1, rows // rows_per_image) if rows_per_image else 200
        with tempfile.TemporaryDirectory(prefix="deixis-memory-") as folder:
            raw = Path(folder) / "raw"
            _start("make", raw, "--rows", rows, "--images", images, "--layout", layout)
            answer = _start("once", raw, Path(folder) / "out")
            kept = pq.read_metadata(Path(folder) / "out" / "pairs.parquet").num_rows
        good = rows - -(-rows // BAD_EVERY)
        if kept != good:
            raise SystemExit(f"{name}: {kept} pairs of {good} good rows")
        facts = json.loads(answer.splitlines()[-1])
        growth = facts["peak_bytes"] - facts["baseline_bytes"]
        measured[name] = {"rows": rows, "pictures": images, "pairs_kept": kept, **facts, "growth_bytes": growth}
        say(f"{name}: {measured[name]}")
    ratios = {key: round(measured["large"][key] / measured["small"][key], 3) for key in ("peak_bytes", "growth_bytes")}
    machine = {"python": platform.python_version(), "pyarrow": pa.__version__, "machine": platform.machine()}
    write_json(measured | {"large_over_small": ratios, "layout": layout, "meta": machine}, out)
    say(f"large over small: {ratios}")


def _start(*arguments: object) -> str:
    command = [sys.executable, "-m", "benchmarks.ingest_memory", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    app()
