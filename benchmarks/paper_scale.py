"""One training step and one inference pass of both teachers and both students at the papers' sizes.

Inputs are made up; no file is read. Writes samples per second with machine and versions.

run     python -m benchmarks.paper_scale [--batch N] [--device auto|cpu|cuda] [--out FILE]
"""

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from cyclopts import App
from torch import nn

from benchmarks.networks import RunningExperts, build_detector, build_experts, build_teacher, draw_squares
from benchmarks.sizes import PAPER
from deixis.core.checkpoints import count_parameters
from deixis.core.progress import say
from deixis.core.records import write_json
from deixis.core.runtime import Device, autocast, pick_device, seed_everything
from deixis.types import StudentBatch, TeacherBatch
from models.students.simrec import SimREC, SimRECConfig
from models.students.transvg import TransVG, TransVGConfig


def teacher_passes(
    name: str, batch: int, device: torch.device
) -> tuple[nn.Module, Callable[[], Any], Callable[[], Any]]:
    """The trained part, a training loss and an inference pass; frozen encoders run inside both, nothing is cached."""
    teacher = build_teacher(name, PAPER, device, compat="released")
    detector = build_detector(PAPER, device)
    experts = build_experts(PAPER, device) if name == "dvin" else {}
    squares = draw_squares(PAPER, batch, device)
    tokens = torch.randint(3, PAPER.words, (batch, 15), device=device)
    image_of = torch.arange(batch, device=device)

    def inputs() -> TeacherBatch:
        with torch.no_grad():
            return TeacherBatch(tokens, image_of, detector.detect(squares), RunningExperts(experts, squares))

    return teacher, lambda: sum(teacher.loss(inputs()).values()), lambda: teacher.match(inputs())


def student_passes(
    name: str, batch: int, device: torch.device
) -> tuple[nn.Module, Callable[[], Any], Callable[[], Any]]:
    """The student, a training loss and an inference pass."""
    side, length = {"simrec": (416, 15), "transvg": (640, 20)}[name]
    student: Any
    if name == "simrec":
        student = SimREC(replace(SimRECConfig(), resize_sides=(side,)), PAPER.vocabulary)
    else:
        student = TransVG(TransVGConfig(), PAPER.vocabulary)
    student = student.to(device).to(memory_format=torch.channels_last)
    inputs = StudentBatch(
        squares=torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device),
        content_xyxy=torch.tensor([[0.0, 0.0, side, side]], device=device).repeat(batch, 1),
        tokens=torch.randint(3, PAPER.words, (batch, length), device=device),
        image_of=torch.arange(batch, device=device),
        boxes_norm=torch.tensor([[0.5, 0.5, 0.3, 0.4]], device=device).repeat(batch, 1),
    )
    return student, lambda: sum(student.loss(inputs).values()), lambda: student.predict(inputs)


def measure(work: Callable[[], Any], *, batch: int, repeats: int, device: torch.device) -> float:
    """Samples per second, median over `repeats` after one untimed pass."""
    seconds = []
    for index in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if index:
            seconds.append(time.perf_counter() - start)
    return round(batch / sorted(seconds)[len(seconds) // 2], 3)


def training_step(model: nn.Module, loss: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """A step of AdamW down the gradient of a loss."""
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-4)

    def step() -> None:
        model.train()
        with autocast(device):
            total = loss()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()

    return step


def measure_model(
    model: nn.Module,
    loss: Callable[[], Any],
    answer: Callable[[], Any],
    *,
    batch: int,
    repeats: int,
    device: torch.device,
) -> dict[str, float | int]:
    """Size of the trained part, and samples per second of a training step and of an inference pass."""

    def infer() -> None:
        model.eval()
        with torch.inference_mode(), autocast(device):
            answer()

    train = training_step(model, loss, device)
    return {
        "parameters": count_parameters(model),
        "training_samples_per_second": measure(train, batch=batch, repeats=repeats, device=device),
        "inference_samples_per_second": measure(infer, batch=batch, repeats=repeats, device=device),
    }


def paper_scale(
    *,
    batch: int | None = None,
    device: Device = "auto",
    repeats: int = 1,
    out: Path = Path("benchmarks/paper_scale.json"),
) -> None:
    """Measure both teachers and both students at the papers' sizes."""
    hardware = pick_device(device)
    seed_everything(0)
    batch = batch or (64 if hardware.type == "cuda" else 2)
    report: dict[str, Any] = {}
    for passes, names in ((teacher_passes, ("refclip", "dvin")), (student_passes, ("simrec", "transvg"))):
        for name in names:
            say(f"{name} at batch {batch}")
            report[name] = measure_model(*passes(name, batch, hardware), batch=batch, repeats=repeats, device=hardware)
            say(f"  {report[name]}")
    report["meta"] = {
        "batch": batch,
        "device": torch.cuda.get_device_name() if hardware.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    write_json(report, out)


if __name__ == "__main__":
    App(name="python -m benchmarks.paper_scale", default_command=paper_scale, version_flags=[])()
