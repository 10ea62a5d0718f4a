"""One core at the papers' sizes: our steps on stored features beside the released network, which computes all in each.

The other side is our `released` compat with its fusion in the published order, and the detector and all experts
computed in every step, once per phrase, as in the release. Ours is `fixed`, and reads a store; in inference, where
images are new, it computes the detector and then the chosen expert alone. Weights are random. Both sides take turns,
and the processor time of one thread counts. Each has the AdamW of its training loop.

run     python -m benchmarks.steps [--repeats 5] [--images 4] [--phrases 5] [--small] [--out FILE]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.networks import (
    RATE,
    ComputedMaps,
    RunningExperts,
    always_choosing,
    build_detector,
    build_experts,
    build_stores,
    build_teacher,
    computed,
    go_back,
    read_pairs,
    trained_parameters,
    training_step,
)  # fmt: skip
from benchmarks.sizes import PAPER, SMALL, Sizes
from benchmarks.timing import gflop
from deixis.batches.features import CPU, FeatureStore
from deixis.core.freed_memory import keep_freed_memory
from deixis.core.progress import say
from deixis.core.records import write_json
from deixis.types import TeacherBatch
from models.blocks.layers import MultiScaleFusion

BATCH = {"refclip": 4, "dvin": 2}  # phrases about images of their own
Side = Callable[[], object]


class PublishedFusion(MultiScaleFusion):
    """With every layer behind the growth of its map."""

    def _grow(self, x: Tensor, layers: torch.nn.Sequential) -> Tensor:
        return layers(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Bench:
    """Networks that all comparisons share."""

    def __init__(self, sizes: Sizes, folder: Path, images: int) -> None:
        self.sizes, self.images = sizes, max(images, *BATCH.values())
        self.detector, self.experts = build_detector(sizes, CPU), build_experts(sizes, CPU)
        self.stores: dict[str, FeatureStore] = build_stores(folder, sizes, self.images)

    def released(self, name: str) -> Any:
        """The released network, to be trained."""
        teacher = build_teacher(name, self.sizes, CPU, compat="released")
        config = teacher.config
        teacher.fusion = PublishedFusion(config.detector_channels, config.fused_width)
        return teacher.to(memory_format=torch.channels_last)

    def computed(self, phrases: int, maps: type, experts: Mapping[str, Any]) -> TeacherBatch:
        """What frozen networks say about an image for each phrase, computed now."""
        return computed(self.sizes, phrases, self.detector, maps=maps, experts=experts, device=CPU)

    def step(self, name: str, *, images: int, phrases: int) -> tuple[Side, Side]:
        """A training step of the released network and of ours, on so many phrases about each image."""
        released = self.released(name)
        ours = build_teacher(name, self.sizes, CPU, compat="fixed")
        experts = self.experts if name == "dvin" else {}
        reader = read_pairs(self.stores, self.sizes, images=images, phrases=phrases, device=CPU)
        rows = range(len(reader))
        return (
            _released_step(released, lambda: self.computed(len(rows), ComputedMaps, experts)),
            training_step(ours, lambda: reader.batch(rows), CPU),
        )

    def answers(self) -> tuple[Side, dict[str, Side]]:
        """DViN's answer to one phrase about a new image: of the released network, and of ours by the expert chosen."""
        released = self.released("dvin").eval()

        def ours(place: int) -> Side:
            teacher = always_choosing(build_teacher("dvin", self.sizes, CPU, compat="fixed").eval(), place)
            return lambda: teacher.match(self.computed(1, RunningExperts, self.experts))

        sides = {name: ours(place) for place, name in enumerate(self.experts)}
        return lambda: released.match(self.computed(1, ComputedMaps, self.experts)), sides


def _released_step(teacher: Any, read: Callable[[], TeacherBatch]) -> Side:
    learners = trained_parameters(teacher)
    optimiser = torch.optim.AdamW(learners, lr=RATE)

    def step() -> None:
        optimiser.zero_grad()
        go_back(teacher, read(), learners, CPU)
        optimiser.step()

    return step


def in_turns(sides: Mapping[str, Side], repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds of the processor, and floating-point operations in billions; the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    found = {}
    for name, side in sides.items():
        found[name] = {"gflop": gflop(side)}
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.process_time()
            side()
            seconds[name].append(time.process_time() - start)
    return {name: {"seconds": median(seconds[name])} | facts for name, facts in found.items()}


def compare(bench: Bench, *, images: int, phrases: int, repeats: int) -> dict[str, dict[str, float]]:
    """Every row of the table by its name."""
    rows = {}
    for name in ("refclip", "dvin"):
        for what, count, each in (("step", BATCH[name], 1), ("step on whole images", images, phrases)):
            theirs, ours = bench.step(name, images=count, phrases=each)
            found = in_turns({"released": theirs, "ours": ours}, repeats)
            rows[f"{name} {what}, {count * each} phrases"] = _row(found["released"], [found["ours"]])
            say(f"{name} {what}: {found}")
    theirs, sides = bench.answers()
    found = in_turns({"released": theirs} | sides, repeats)
    for name in sides:
        rows[f"dvin answer, {name} chosen"] = _row(found["released"], [found[name]])
    rows["dvin answer, every expert as often"] = _row(found["released"], [found[name] for name in sides])
    return rows


def _row(theirs: dict[str, float], ours: list[dict[str, float]]) -> dict[str, float]:
    """Both sides, ours as a mean, and how much less ours takes."""
    row = {}
    for what in ("seconds", "gflop"):
        both = theirs[what], mean(facts[what] for facts in ours)
        row |= {f"{what} released": both[0], f"{what} ours": both[1], f"{what} ratio": both[0] / both[1]}
    return row


def main() -> None:
    """Print a table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=4, help="whole images in a batch")
    parser.add_argument("--phrases", type=int, default=5, help="about each of them")
    parser.add_argument("--small", action="store_true", help="tiny networks, for tests")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/steps.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as stages do
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        bench = Bench(SMALL if options.small else PAPER, Path(folder), options.images)
        rows = compare(bench, images=options.images, phrases=options.phrases, repeats=options.repeats)
    write_json(rows, options.out)
    print("| what | seconds, released -> ours | ratio | GFLOP, released -> ours | ratio |\n|---|---|---|---|---|")
    for name, row in rows.items():
        cells = (
            f"{row[f'{what} released']:.2f} -> {row[f'{what} ours']:.2f} | {row[f'{what} ratio']:.1f}"
            for what in ("seconds", "gflop")
        )
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
