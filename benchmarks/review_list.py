"""How long a person waits for the page of `deixis serve`: the first screen, the next label, another filter.

Times are those of a client that asks a real server for what the browser would, one thing after another; drawing it is
not in them. A decision counts until it is on the disk. The browser asks for the next picture beforehand; here it
is waited for.

run     python -m benchmarks.review_list [--labels N] [--repeat N] [--out FILE]
"""

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cyclopts import App
from PIL import Image

from deixis.core.progress import say
from deixis.core.records import write_json, write_table
from deixis.imaging.masks import encode_mask

LABELS_PER_IMAGE = 7
SIDE = (640, 480)
FILES = ("review.js", "common.js", "keys.js", "list.js", "pending.js", "picture.js", "page.css", "icon.svg")
WORDS = ("ball", "cube", "cone", "ring", "star")

app = App(name="python -m benchmarks.review_list", version_flags=[])


class Client:
    """A connection to a server that was just started, with its token."""

    def __init__(self, address: str) -> None:
        origin, token = address.split("/?token=")
        self._connection = http.client.HTTPConnection(origin.removeprefix("http://"))
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The answer to a GET, or a POST where there is a body."""
        sent = None if body is None else json.dumps(body)
        self._connection.request("POST" if body else "GET", path, sent, self._headers)
        answer = self._connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        return data

    def first_screen(self) -> dict[str, Any]:
        """Everything that the browser loads before a person sees the first label; that label."""
        self.ask("/review")
        for name in FILES:
            self.ask(f"/static/{name}")
        window = json.loads(self.ask("/api/labels"))
        return self.label(window["rows"][0]["row"])

    def label(self, row: int) -> dict[str, Any]:
        """A label and its picture."""
        label = json.loads(self.ask(f"/api/labels/{row}?decided=undecided"))
        self.ask(label["picture"])
        return label


@app.default
def review_list(*, labels: int = 100_000, repeat: int = 15, out: Path | None = None) -> None:
    """Print the medians in milliseconds.

    Args:
        labels: Rows of the table.
        repeat: Times that each wait is measured.
        out: Also write them there, as JSON.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_labels(Path(folder), labels)
        with served(Path(folder)) as (address, started_s):
            waits = measure(Client(address), repeat)
    waits = {"labels": float(labels), "start_ms": 1000 * started_s} | waits
    for name, value in waits.items():
        say(f"{name:20} {value:10.1f}")
    if out is not None:
        write_json(waits, out)


def measure(client: Client, repeat: int) -> dict[str, float]:
    """Median waits in milliseconds; the very first screen apart, since it puts the list in order."""
    cold = timed(client.first_screen)
    label = client.first_screen()

    def decide_and_go_on() -> None:
        nonlocal label
        body = {"sample_id": label["sample_id"], "verdict": "accept", "label_box": label["box"]}
        client.ask("/api/decisions?decided=undecided", body)
        label = client.label(label["next"])

    searches = iter(f"{word} {number}" for number in range(repeat) for word in WORDS)
    waits = {
        "first_screen_ms": client.first_screen,
        "next_label_ms": decide_and_go_on,
        "other_search_ms": lambda: client.ask(f"/api/labels?text={next(searches).replace(' ', '+')}"),
    }
    medians = {name: float(np.median([timed(wait) for _ in range(repeat)])) for name, wait in waits.items()}
    return {"cold_first_screen_ms": cold} | medians


def timed(what: Callable[[], object]) -> float:
    """Milliseconds that it takes."""
    begun = time.perf_counter()
    what()
    return 1000 * (time.perf_counter() - begun)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, float]]:
    """A server's address, and the seconds until it printed it."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "deixis", "serve", str(folder), "--port", "0", "--who", "benchmark"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        try:
            yield address, time.perf_counter() - begun
        finally:
            process.terminate()


def write_labels(folder: Path, count: int) -> None:
    """Labels as `deixis label` writes them, of images that all show the same."""
    rng = np.random.default_rng(0)
    (folder / "prepared" / "images").mkdir(parents=True)
    pixels = rng.integers(0, 256, (SIDE[1] // 8, SIDE[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(SIDE).save(folder / "prepared" / "images" / "0.jpg")
    images = pd.DataFrame({"image_id": np.arange(-(-count // LABELS_PER_IMAGE))})
    images = images.assign(path="0.jpg", width=SIDE[0], height=SIDE[1])
    write_table(images, folder / "prepared" / "images.parquet")
    drawn = np.zeros((SIDE[1], SIDE[0]), bool)
    drawn[100:200, 100:300] = True
    low = rng.random((count, 2)) * 200
    boxes = np.concatenate([low, low + 20 + 200 * rng.random((count, 2))], 1)
    accept = rng.random(count) < 0.8
    table = pd.DataFrame({"sample_id": [f"own/{row}" for row in range(count)]}).assign(
        image_id=np.arange(count) // LABELS_PER_IMAGE,
        expression=[f"the {WORDS[row % len(WORDS)]} {row % 97} left of the door" for row in range(count)],
        split=np.where(rng.random(count) < 0.9, "train", "val"),
        box=list(boxes),
        runner_up=list(boxes[::-1]),
        score=rng.random(count),
        margin=rng.random(count),
        confidence=rng.random(count),
        agreement=rng.random(count),
        accept=accept,
        reason=np.where(accept, "", "margin"),
        mask=[encode_mask(drawn)] * count,
        mask_source="segmenter",
        teacher="dvin",
        checkpoint_sha256="0" * 64,
        config_sha256="0" * 64,
    )
    write_table(table, folder / "labels.parquet")


if __name__ == "__main__":
    app()
