"""Time every predictor of one dataset at batch 1, from stored image to box: route first, only the chosen expert runs.

A student that ranks boxes is timed from stored boxes on; what finding them costs is the detector's part of its teacher.

reads   pairs.parquet, images.parquet, objects.parquet, candidates, the images, all weights, teachers and students of
        the dataset; params: speed
writes  one JSON per predictor: milliseconds, median and 95th percentile, by part; device and versions
run     dvc repro measure_speed@scenes_plus
"""

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic.dataclasses import dataclass

from answering.live_matcher import survivors_of
from deixis.batches.samples import PAIR_COLUMNS
from deixis.batches.survivors import surviving
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.records import read_json, read_table, write_json
from deixis.core.runtime import Device, autocast, pick_device
from deixis.imaging.images import ImageReader
from deixis.language.tokens import encode
from deixis.roles import Expert, stored_experts
from deixis.types import TeacherBatch
from models.frozen.detectors import load_detector
from models.frozen.experts import load_expert
from models.loading.students import load_student, phrase_reader, read_candidates
from models.loading.teachers import load_teacher


@dataclass(frozen=True, config=STRICT)
class SpeedParams:
    """The `speed` section."""

    phrases: int  # timed; evenly spread over val
    warmup: int  # passes before timing


class Stopwatch:
    """Milliseconds of named parts; waits for the device at each lap."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.laps: dict[str, list[float]] = {}
        self._last = 0.0

    def start(self) -> None:
        """Begin a pass."""
        self._wait()
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """End a part of the pass."""
        self._wait()
        now = time.perf_counter()
        self.laps.setdefault(part, []).append(1000 * (now - self._last))
        self._last = now

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def measure_speed(
    *,
    prepared: Path,
    image_root: Path,
    weights: Path,
    teachers: Path,
    candidates: Path,
    students: Path,
    out: Path,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Time every predictor of one dataset at batch 1."""
    config = read_section(params, "speed", SpeedParams)
    hardware = pick_device(device)
    table, images = timed_phrases(prepared, config.phrases)
    for folder in sorted(path.parent for path in teachers.glob("*/config.json")):
        answer = teacher_pass(folder, weights, table, images, image_root, hardware)
        write_json(timed(answer, len(table), config.warmup, hardware), out / f"{folder.name}.json")
    for folder in sorted(path.parent for path in students.glob("*/config.json")):
        answer = student_pass(folder, table, images, image_root, candidates, prepared / "objects.parquet", hardware)
        write_json(timed(answer, len(table), config.warmup, hardware), out / f"{folder.name}.json")


def timed_phrases(prepared: Path, most: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """At most so many phrases, evenly spread over val, and the images of the dataset."""
    table = read_table(prepared / "pairs.parquet", columns=PAIR_COLUMNS, made_by="prepare")
    table = table[table["split"] == "val"]
    table = table.iloc[np.linspace(0, len(table) - 1, min(most, len(table))).astype(int)].reset_index(drop=True)
    columns = ("image_id", "path", "width", "height")
    return table, read_table(prepared / "images.parquet", columns=columns, made_by="prepare")


Pass = Callable[[int, Stopwatch], None]


def timed(answer: Pass, phrases: int, warmup: int, device: torch.device) -> dict[str, Any]:
    """Run all phrases; the first `warmup` of them twice, untimed at first."""
    with torch.inference_mode(), autocast(device):
        for index in range(min(warmup, phrases)):
            answer(index, Stopwatch(device))
        watch = Stopwatch(device)
        for index in range(phrases):
            watch.start()
            answer(index, watch)
    laps = {part: np.array(times) for part, times in watch.laps.items()}
    laps["total"] = np.sum(list(laps.values()), axis=0)
    return {
        "milliseconds": {
            p: {"median": round(float(np.median(t)), 3), "p95": round(float(np.percentile(t, 95)), 3)}
            for p, t in laps.items()
        },
        "phrases": phrases,
        "batch": 1,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


class LiveExpertMaps:
    """Runs an expert on the images at hand, when asked for its map."""

    def __init__(self, experts: Mapping[str, Expert], squares: torch.Tensor) -> None:
        self._experts = experts
        self._squares = squares

    def maps(self, expert: str, rows: torch.Tensor) -> torch.Tensor:
        """Maps of one expert for some images of the batch."""
        return self._experts[expert].encode(self._squares[rows])


def teacher_pass(
    folder: Path, weights: Path, table: pd.DataFrame, images: pd.DataFrame, image_root: Path, device: torch.device
) -> Pass:
    """Decode, detect, then match (which routes, and runs the chosen expert)."""
    teacher = load_teacher(folder, device)
    rule = survivors_of(read_json(folder / "config.json", made_by="train_teacher"))
    detector = load_detector(weights / "detector", device)
    experts = {name: load_expert(name, weights / name, device) for name in stored_experts(teacher)}
    reader = ImageReader(images, root=image_root, side=detector.input_size, framing=detector.framing, cache_bytes=0)
    ids, texts = table["image_id"].tolist(), table["text"].tolist()
    only = torch.zeros(1, dtype=torch.long, device=device)  # one phrase, about the one image

    def answer(index: int, watch: Stopwatch) -> None:
        squares = reader.squares([ids[index]])
        watch.lap("decode")
        squares = squares.to(device)
        tokens = encode([texts[index]], teacher.vocabulary, teacher.text_length).to(device)
        watch.lap("preprocess")
        detections = detector.detect(squares, scales=teacher.box_scales)
        if rule is not None:
            detections = surviving(detections, squares, rule)
        watch.lap("detector")
        experts_here = LiveExpertMaps(experts, squares)
        teacher.match(TeacherBatch(tokens, only, detections, experts_here, texts=(texts[index],)))
        watch.lap("match")

    return answer


def student_pass(
    folder: Path,
    table: pd.DataFrame,
    images: pd.DataFrame,
    image_root: Path,
    detections: Path,
    annotations: Path,
    device: torch.device,
) -> Pass:
    """Read (decode and preprocess), then predict."""
    student = load_student(folder, device)
    source = read_json(folder / "config.json", made_by="train_student").get("candidates", "detections")
    boxes = read_candidates(student, annotations if source == "annotations" else detections, images, source=source)
    reader = phrase_reader(
        student, table, images, image_root=image_root, device=device, candidates=boxes, cache_bytes=0
    )

    def answer(index: int, watch: Stopwatch) -> None:
        batch = reader.batch([index])
        watch.lap("decode")
        student.predict(batch)
        watch.lap("match")

    return answer


if __name__ == "__main__":
    run_stage(measure_speed)
