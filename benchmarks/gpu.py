"""One card, at most eight minutes, one file: where its time goes at the papers' sizes.

Extraction as a share of the card's own peak; a cached step beside the same networks online; how long the loader takes
beside the step; DViN's answers route-first beside all experts; steps of students; masks. Weights and inputs are random.
Needs torch, torchvision, timm, transformers, pandas and pyarrow, and what `deixis` reads settings and masks with
(pydantic, jaxtyping, ruamel.yaml, safetensors, segment-anything); neither DVC nor Prefect. What does not fit into the
card's memory is a line that says so.

run     python -m benchmarks.gpu [--device cuda] [--batch 64] [--seconds 450] [--small] [--machine NAME] [--out FILE]
"""

import argparse
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from answering.live_store import detector_arrays, encode_squares, expert_arrays
from benchmarks.networks import (
    ComputedMaps,
    RunningExperts,
    always_choosing,
    build_detector,
    build_experts,
    build_stores,
    build_teacher,
    computed,
    draw_squares,
    read_pairs,
    training_step,
)  # fmt: skip
from benchmarks.sizes import PAPER, SMALL, Sizes
from benchmarks.timing import Row, Rows, Timer, gflop
from deixis.core.freed_memory import keep_freed_memory
from deixis.core.frozen import freeze
from deixis.core.runtime import autocast, pick_device, seed_everything
from deixis.imaging.images import ImageReader
from deixis.types import ExpertMaps, StudentBatch
from models.segmenters.small_sam import SmallSAM
from models.students.simrec import SimREC
from models.students.transvg import TransVG

PHRASES = 5  # about each of whole images
STUDENTS = {"simrec": SimREC, "transvg": TransVG}


class Card:
    """Networks on one device, and how long they take there."""

    def __init__(self, sizes: Sizes, timer: Timer, *, batch: int) -> None:
        self.sizes, self.timer, self.device, self.batch = sizes, timer, timer.device, batch
        self.detector: Any = build_detector(sizes, self.device)
        self.experts = build_experts(sizes, self.device)

    def peak(self, side: int) -> float:
        """Of a square matrix product in the precision of steps, in billions of operations per second."""
        a, b = (torch.randn(side, side, device=self.device) for _ in range(2))

        def product() -> None:
            with autocast(self.device):
                torch.mm(a, b)

        if self.device.type == "cuda":
            a, b = a.bfloat16(), b.bfloat16()
        return 2 * side**3 / 1e9 / self.timer.seconds(product)

    def extraction(self, name: str, peak: float) -> Row:
        """Images per second through one frozen encoder, on the device alone and with the way back into a store."""
        arrays = detector_arrays(self.detector) if name == "detector" else expert_arrays(self.experts[name])
        squares = draw_squares(self.sizes, self.batch, self.device)

        @torch.inference_mode()
        def encode() -> None:
            with autocast(self.device):
                arrays(squares)

        seconds, operations = self.timer.seconds(encode), gflop(encode)
        stored = self.timer.seconds(lambda: encode_squares(arrays, squares.cpu(), self.device))
        return {
            "images_per_second": self.batch / seconds,
            "images_per_second_into_a_store": self.batch / stored,
            "gflop_per_image": operations / self.batch,
            "share_of_peak": operations / seconds / peak,
        }

    def decoding(self, folder: Path) -> Row:
        """Photographs per second from their files into squares, by one thread and by as many as torch has."""
        levels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(levels).resize((640, 480), Image.Resampling.BICUBIC).save(folder / "photo.jpg", quality=90)
        table = pd.DataFrame({"image_id": range(self.batch), "path": "photo.jpg", "width": 640, "height": 480})
        row = {}
        for name, decoders in (("one_thread", 1), ("pool", torch.get_num_threads())):
            side = self.sizes.detector.input_size
            reader = ImageReader(table, root=folder, side=side, cache_bytes=0, decoders=decoders)
            seconds = self.timer.seconds(lambda reader=reader: reader.squares(table["image_id"].tolist()))
            row[f"images_per_second_{name}"] = self.batch / seconds
        return row

    def steps(self, name: str, stores: Any, *, images: int, phrases: int) -> Row:
        """Phrases per second in training: with the batch on the device, read from the store, and computed online."""
        count = images * phrases
        experts = self.experts if name == "dvin" else {}
        reader = read_pairs(stores, self.sizes, images=images, phrases=phrases, device=self.device)
        teacher = build_teacher(name, self.sizes, self.device, compat="fixed")
        held = reader.batch(range(count))
        held = replace(held, experts=HeldMaps(held.experts, list(experts), images, self.device))
        ways: dict[str, Callable[[], Any]] = {
            "on_device": lambda: held,
            "from_store": lambda: reader.batch(range(count)),
            "online": lambda: computed(
                self.sizes, count, self.detector, maps=ComputedMaps, experts=experts, device=self.device
            ),
        }
        seconds = {way: self.timer.seconds(training_step(teacher, read, self.device)) for way, read in ways.items()}
        reading = self.timer.seconds(
            lambda: HeldMaps(ways["from_store"]().experts, list(experts)[:1], images, self.device)
        )
        return {
            "phrases": count,
            **{f"phrases_per_second_{way}": count / of_one for way, of_one in seconds.items()},
            "store_over_online": seconds["online"] / seconds["from_store"],
            "reading_over_step_on_device": reading / seconds["on_device"],
        }

    @torch.inference_mode()
    def answers(self, count: int) -> Row:
        """Answers per second to phrases about new images: all experts first, and the router first."""
        teacher = build_teacher("dvin", self.sizes, self.device, compat="fixed").eval()

        def answer(maps: type) -> None:
            with autocast(self.device):
                teacher.match(
                    computed(self.sizes, count, self.detector, maps=maps, experts=self.experts, device=self.device)
                )

        row = {"all_experts": count / self.timer.seconds(lambda: answer(ComputedMaps))}
        for place, name in enumerate(self.experts):
            always_choosing(teacher, place)
            row[f"{name}_chosen"] = count / self.timer.seconds(lambda: answer(RunningExperts))
        chosen = mean(1 / row[f"{name}_chosen"] for name in self.experts)
        return row | {"route_first_over_all_experts": 1 / chosen / row["all_experts"]}

    def student(self, name: str) -> Row:
        """Phrases per second in training, with images on the device, and images per second to and from it."""
        config = self.sizes.students[name]
        model = STUDENTS[name](config, self.sizes.vocabulary)
        model = model.to(self.device).to(memory_format=torch.channels_last)
        side, count = config.input_size, self.batch
        squares = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
        batch = StudentBatch(
            squares=squares.to(self.device),
            content_xyxy=torch.tensor([[0.0, 0.0, side, side]], device=self.device).repeat(count, 1),
            tokens=torch.randint(3, self.sizes.words, (count, model.text_length), device=self.device),
            image_of=torch.arange(count, device=self.device),
            boxes_norm=torch.tensor([[0.5, 0.5, 0.3, 0.4]], device=self.device).repeat(count, 1),
        )
        step = training_step(model, lambda: batch, self.device)
        seconds = self.timer.seconds(step)
        moving = self.timer.seconds(lambda: squares.to(self.device, copy=True))
        return {
            "phrases_per_second": count / seconds,
            "gflop_per_phrase": gflop(step) / count,
            "moving_squares_over_step": moving / seconds,
        }

    def masks(self) -> Row:
        """Masks per second of photographs of 640 x 480 with so many boxes each."""
        model = freeze(SmallSAM(self.sizes.segmenter).to(self.device))
        image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        corners = torch.rand(PHRASES, 2) * 300
        boxes = torch.cat([corners, corners + 100], 1)
        return {"masks_per_second": PHRASES / self.timer.seconds(lambda: model.segment(image, boxes))}


class HeldMaps:
    """Maps of some experts for the first images of a batch, on the device."""

    def __init__(self, maps: ExpertMaps, names: Sequence[str], images: int, device: torch.device) -> None:
        self._maps = {name: maps.maps(name, torch.arange(images, device=device)) for name in names}

    def maps(self, expert: str, rows: Tensor) -> Tensor:
        """Maps of one expert for some rows of the batch."""
        return self._maps[expert][rows]


def measure_all(card: Card, stores: Any, rows: Rows, *, side: int, folder: Path) -> None:
    """Every row of the file."""
    rows.add("peak", lambda: {"gflop_per_second": card.peak(side)})
    peak = rows.found["peak"]["gflop_per_second"]
    for name in ("detector", *card.experts):
        rows.add(f"extraction {name}", lambda name=name: card.extraction(name, peak))
    rows.add("decoding", lambda: card.decoding(folder))
    whole = max(1, card.batch // PHRASES)
    for name in ("refclip", "dvin"):
        rows.add(f"{name} step", lambda name=name: card.steps(name, stores, images=card.batch, phrases=1))
        rows.add(
            f"{name} step, whole images", lambda name=name: card.steps(name, stores, images=whole, phrases=PHRASES)
        )
    for count in (1, card.batch):
        rows.add(f"dvin answers, batch {count}", lambda count=count: card.answers(count))
    for name in STUDENTS:
        rows.add(f"{name} step", lambda name=name: card.student(name))
    rows.add("masks", card.masks)


def describe(device: torch.device, machine: str, batch: int) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "machine": machine or (torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()),
        "device": device.type,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def main() -> None:
    """Write the file, and print each row as it comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=450, help="no row begins later")
    parser.add_argument("--spend", type=float, default=2, help="seconds for each number")
    parser.add_argument("--blocks", type=int, default=3, help="of passes, of which the median counts")
    parser.add_argument("--small", action="store_true", help="tiny networks, for tests")
    parser.add_argument("--machine", default="", help="its name; by default the card's")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/gpu.json"))
    options = parser.parse_args()
    device = pick_device(options.device)
    seed_everything(0)
    keep_freed_memory()
    rows = Rows(describe(device, options.machine, options.batch), seconds=options.seconds, out=options.out)
    sizes, side = (SMALL, 64) if options.small else (PAPER, 8192)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        stores = build_stores(Path(folder), sizes, options.batch)
        card = Card(sizes, Timer(device, options.spend, options.blocks), batch=options.batch)
        measure_all(card, stores, rows, side=side, folder=Path(folder))


if __name__ == "__main__":
    main()
