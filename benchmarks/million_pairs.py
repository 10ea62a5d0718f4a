"""A million fabricated pairs prepared, labelled and exported, killed on the way: nothing missing, nothing twice.

Measured beside a set of ten thousand: highest memory of every stage, processor time and disk. `share` compares two
workers of one thread each with one. The sets are of `benchmarks.fabricated_pairs`; on Linux. Results: docs/scale.md.

run     python -m benchmarks.million_pairs [--pairs N] [--images N] [--kills N] [--folder FOLDER] [--out FILE]
        python -m benchmarks.million_pairs share [--pairs N] [--images N] [--workers N] [--folder FOLDER] [--out FILE]
"""

import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from cyclopts import App

from benchmarks.watched import Watched, watch
from deixis.core.pieces import PIECE
from deixis.core.progress import say
from deixis.core.records import file_sha256, write_json

HERE = "benchmarks.million_pairs"
ROUNDS = ("asked", "places.json", "labels.parquet")  # what labelling leaves of every part, in order
TARGETS = ("parquet", "coco")
RAW, PREPARED = Path("raw"), Path("prepared")
PARAMS = ("--params", "params.yaml")
Widths = Literal["embedded", "paper"]

app = App(name=f"python -m {HERE}", version_flags=[])


@app.command
def make(folder: Path, *, pairs: int, images: int, widths: Widths) -> None:
    """Write a raw set, and a teacher for it."""
    from benchmarks.fabricated_pairs import fabricate

    fabricate(folder, pairs=pairs, images=images, widths=widths)


@app.command
def features(folder: Path, *, widths: Widths) -> None:
    """Write the store of a prepared set."""
    from benchmarks.fabricated_pairs import write_features

    write_features(folder / "prepared/images.parquet", folder / "features", widths=widths)


def begin(folder: Path, *, pairs: int, images: int, widths: Widths = "embedded") -> Watched:
    """Make a set, prepare it, and give it features; what preparing took."""
    folder.mkdir(parents=True)
    watch([HERE, "make", folder, "--pairs", pairs, "--images", images, "--widths", widths], folder=folder)
    (prepare,) = watch(
        ["stages.prepare", "--dataset", "fabricated", "--raw", RAW, "--out", PREPARED, *PARAMS], folder=folder
    )
    watch([HERE, "features", folder, "--widths", widths], folder=folder)
    return prepare


def process(folder: Path, *, pairs: int, images: int, kills: int, widths: Widths = "embedded") -> dict[str, Any]:
    """Take a set from its raw files to its exports; what every stage took."""
    prepare = begin(folder, pairs=pairs, images=images, widths=widths)
    taken: dict[str, Any] = {"prepare": prepare.facts() | {"disk_bytes": size_of(folder / PREPARED)}}
    taken["label"] = label(folder, pairs=pairs, kills=kills)
    labels = "labels/labels.parquet"
    common = ["--images", PREPARED / "images.parquet", "--image-root", RAW / "images"]
    boxes = ["--boxes", "labels/boxes.parquet", "--segmenter", "none", "--teacher", "teacher", "--out", labels]
    (masks,) = watch(["stages.segment_boxes", *boxes, *common, *PARAMS], folder=folder)
    taken["segment_boxes, without masks"] = masks.facts() | {"disk_bytes": (folder / labels).stat().st_size}
    for target in TARGETS:
        out = f"export-{target}"
        (export,) = watch(["deixis", "export", labels, "--to", target, "--all", *common, "--out", out], folder=folder)
        taken[f"export to {target}"] = export.facts() | {"disk_bytes": size_of(folder / out)}
    return taken | count(folder)


def label(folder: Path, *, pairs: int, kills: int) -> dict[str, Any]:
    """Label the set, killed so many times at equal distances; what it took together, and parts that were done twice."""
    parts = max(1, pairs // 8192)  # at least
    done: dict[Path, int] = {}
    attempts: list[Watched] = []
    twice, scratch = 0, 0
    for kill in range(kills + 1):
        enough = (kill + 1) * parts * len(ROUNDS) // (kills + 1)
        last = kill == kills
        attempts += watch(
            labelling("labels"), folder=folder,
            until=lambda enough=enough, last=last: not last and len(finished(folder)) >= enough,
        )  # fmt: skip
        now = finished(folder)
        twice += sum(done[path] != now[path] for path in done.keys() & now.keys())
        done |= now
        scratch = max(scratch, size_of(folder / "scratch"))
        say(f"labelling, attempt {kill + 1}: {len(now)} parts of rounds are there")
    whole = {name: round(sum(each.facts()[name] for each in attempts), 1) for name in ("seconds", "processor_seconds")}
    peaks = {name: max(each.facts()[name] for each in attempts) for name in ("own_bytes", "resident_bytes")}
    killed = sum(each.process.returncode != 0 for each in attempts)
    return (
        whole
        | peaks
        | {
            "killed": killed,
            "parts_done_twice": twice,
            "scratch_bytes": scratch,
            "disk_bytes": size_of(folder / "labels"),
        }
    )


def labelling(out: str) -> list[object]:
    """Command line of the stage."""
    return [
        "stages.write_pseudo_labels", "--pairs", PREPARED / "pairs.parquet", "--images", PREPARED / "images.parquet",
        "--features", "features", "--teacher", "teacher", "--out", out, "--device", "cpu", *PARAMS,
    ]  # fmt: skip


def finished(folder: Path) -> dict[Path, int]:
    """Parts that are whole in the scratch folder, and when each was written."""
    return {
        path: path.stat().st_mtime_ns
        for ending in ROUNDS
        for path in (folder / "scratch").glob(f"write_pseudo_labels/*/[0-9]*.{ending}")
    }


@app.command
def share(
    *, pairs: int = 1_000_000, images: int = 100_000, workers: int = 2, folder: Path | None = None,
    out: Path = Path("benchmarks/shared_labelling.json"),
) -> None:  # fmt: skip
    """Label a set by one worker, and by several that share every round; how much faster these are.

    Args:
        folder: A set that is there; by default one is made.
    """
    with tempfile.TemporaryDirectory(prefix="deixis-million-") as temporary:
        work = (folder or Path(temporary) / "work").absolute()
        if not work.exists():
            begin(work, pairs=pairs, images=images)
        write_json({"pairs": len(ids_in(work / PREPARED / "pairs.parquet"))} | compare(work, workers), out)


def compare(folder: Path, workers: int) -> dict[str, Any]:
    """Both, with the bytes that they wrote."""
    (alone,) = watch(labelling("alone"), folder=folder)
    seconds = busiest = 0.0
    for _ in ROUNDS:
        shares = [{PIECE: f"{number}/{workers}"} for number in range(workers)]
        together = watch(*[labelling("shared")] * workers, folder=folder, environments=shares)
        seconds += max(each.seconds for each in together)
        busiest += max(each.processor_seconds for each in together)
    (rest,) = watch(labelling("shared"), folder=folder)
    seconds, busiest = seconds + rest.seconds, busiest + rest.processor_seconds
    return {
        "alone": alone.facts(), "workers": workers, "shared_seconds": round(seconds, 1),
        "faster": round(alone.seconds / seconds, 2),
        # what the slower worker of each round computes: their time where each has a core, whatever else runs
        "shared_processor_seconds": round(busiest, 1),
        "faster_by_processor_time": round(alone.processor_seconds / busiest, 2),
        "same_bytes": file_sha256(folder / "alone/boxes.parquet") == file_sha256(folder / "shared/boxes.parquet"),
    }  # fmt: skip


def count(folder: Path) -> dict[str, int]:
    """Pairs that are missing from the labels and from the export, and those that are there twice, by their ids."""
    prepared = ids_in(folder / PREPARED / "pairs.parquet")
    counts = {"pairs": len(prepared)}
    for name, path in (
        ("labels", folder / "labels/labels.parquet"),
        ("export", folder / "export-parquet/labels.parquet"),
    ):
        found = ids_in(path)
        counts[f"{name}_missing"] = len(np.setdiff1d(prepared, found))
        counts[f"{name}_twice"] = len(found) - len(np.unique(found))
        counts[f"{name}_unknown"] = len(np.setdiff1d(found, prepared))
    return counts


def ids_in(path: Path) -> np.ndarray:
    """A number of 64 bits for each row's id."""
    with pq.ParquetFile(path) as file:
        batches: Iterator[Any] = file.iter_batches(columns=["sample_id"])
        return np.concatenate([pd.util.hash_array(np.array(batch["sample_id"].to_pylist())) for batch in batches])


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@app.default
def million_pairs(
    *,
    pairs: int = 1_000_000,
    images: int = 100_000,
    kills: int = 5,
    small: int = 10_000,
    widths: Widths = "embedded",
    folder: Path | None = None,
    out: Path = Path("benchmarks/million_pairs.json"),
) -> None:
    """Run both sets, and write what they took; ends where a pair is missing or doubled.

    Args:
        small: Pairs of the set that memory is compared with; as many about one image.
        widths: Of features and teacher.
        folder: Where the sets go; it must not be there yet. By default a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="deixis-million-") as temporary:
        work = (folder or Path(temporary) / "work").absolute()
        taken = {"small": process(work / "small", pairs=small, images=images * small // pairs, kills=0, widths=widths)}
        taken["large"] = process(work / "large", pairs=pairs, images=images, kills=kills, widths=widths)
    growth = {
        stage: {what: round(facts[what] / taken["small"][stage][what], 3) for what in ("own_bytes", "resident_bytes")}
        for stage, facts in taken["large"].items()
        if isinstance(facts, dict)
    }
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    write_json(
        {"pairs": pairs, "images": images, "widths": widths} | taken | {"large_over_small": growth, "meta": machine},
        out,
    )
    say(f"{out}: {growth}")
    counts = {name: found for name, found in taken["large"].items() if name.endswith(("missing", "twice", "unknown"))}
    if any(counts.values()):
        raise SystemExit(f"not every pair is there once: {counts}")


if __name__ == "__main__":
    app()
