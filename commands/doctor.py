"""`deixis doctor`: what works here, and the remedy of what does not."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from deixis.core.errors import ConfigError
from deixis.core.fingerprint import ROOT
from deixis.weights.locate import weights_folder

FROZEN = (
    "detector", "contrastive_vit", "distilled_vit", "segmentation_vit", "contrastive_convnet", "segmenter", "backbone",
)  # fmt: skip
GIGABYTE = 1 << 30
ROOM = 2.0  # gigabytes that the default run writes, and some to spare
PLAIN_WIDTH = 160  # columns, where the output is no terminal
State = Literal["ok", "note", "broken"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        state: `broken` stops the default run; `note` stops only what needs it.
        remedy: What to do; empty where nothing need be done.
    """

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""


def doctor(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Look at devices, versions, extras, weights, datasets and disk, and say what to do about each problem.

    Exit code 1 where something is broken that `dvc repro` needs; what it makes by itself is never broken.

    Args:
        as_json: Print JSON instead of a table.
    """
    checks = list(examine(Path.cwd()))
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        show(checks)
    if any(check.state == "broken" for check in checks):
        sys.exit(1)


def examine(root: Path) -> Iterator[Check]:
    """All checks, of a checkout or any folder that commands are run in."""
    yield from check_versions()
    yield from check_devices()
    yield from check_extras()
    yield from check_checkout(root)
    yield from check_weights(root)
    yield from check_datasets(root)
    yield from check_disk(root)


def check_versions() -> Iterator[Check]:
    """Python and the packages that the project depends on."""
    stated = read_project()
    low, high = [tuple(map(int, version)) for version in re.findall(r"(\d+)\.(\d+)", stated["requires-python"])]
    fits = low <= sys.version_info[:2] < high
    remedy = "" if fits else f"Python must be {stated['requires-python']}: uv sync --python {low[0]}.{low[1]}"
    yield Check("versions", "python", "ok" if fits else "broken", platform.python_version(), remedy)
    for package in map(_name, stated["dependencies"]):
        version = _version(package)
        state: State = "ok" if version else "broken"
        yield Check("versions", package, state, version or "not installed", "" if version else "uv sync")


def check_devices() -> Iterator[Check]:
    """What stages would run on with `--device auto`."""
    device = os.environ.get("DEIXIS_DEVICE") or "auto"
    if device not in ("auto", "cpu", "cuda"):
        remedy = "DEIXIS_DEVICE may be auto, cpu or cuda: unset DEIXIS_DEVICE"
        yield Check("devices", "DEIXIS_DEVICE", "broken", device, remedy)
    if not _version("torch"):
        return
    import torch  # takes seconds

    yield Check("devices", "cpu", "ok", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            room = f"{facts.total_memory / GIGABYTE:.0f} GB"
            yield Check("devices", f"cuda:{number}", "ok", f"{facts.name}, {room}")
    elif device == "cuda":
        yield Check("devices", "cuda", "broken", "DEIXIS_DEVICE is cuda, and torch sees no GPU", "unset DEIXIS_DEVICE")
    else:
        yield Check("devices", "cuda", "ok", "no GPU; the embedded run needs none")


def check_extras() -> Iterator[Check]:
    """Packages that only some settings need."""
    for extra, packages in read_project().get("optional-dependencies", {}).items():
        missing = [name for name in map(_name, packages) if not _version(name)]
        if missing:
            remedy = f"only for what needs it: uv sync --extra {extra}"
            yield Check("extras", extra, "note", f"not installed: {', '.join(missing)}", remedy)
        else:
            yield Check("extras", extra, "ok", ", ".join(f"{_name(p)} {_version(_name(p))}" for p in packages))


def check_checkout(root: Path) -> Iterator[Check]:
    """Whether `dvc repro` can run here."""
    for name in ("dvc.yaml", "params.yaml"):
        there = (root / name).is_file()
        remedy = "" if there else "training needs a checkout: change into it; predict and label work anywhere"
        yield Check("checkout", name, "ok" if there else "note", "found" if there else f"not in {root}", remedy)


def check_weights(root: Path) -> Iterator[Check]:
    """The frozen models that the default run trains, and published ones."""
    folder = root / "data" / "weights" / "embedded"
    for name in FROZEN:
        there = [file for file in ("config.json", "model.safetensors") if (folder / name / file).is_file()]
        if len(there) == 2:
            yield Check("weights", name, "ok", "found")
        elif there:
            yield Check("weights", name, "broken", f"only {there[0]}", f"remove {folder / name}, then: dvc repro")
        else:
            yield Check("weights", name, "note", "not trained yet", "dvc repro trains it")
    try:
        published = root / weights_folder()
    except ConfigError as error:
        yield Check("weights", "published", "note", str(error), "unset DEIXIS_WEIGHTS")
        return
    files = [path for path in published.rglob("*") if path.is_file()] if published.is_dir() else []
    size = sum(path.stat().st_size for path in files) / GIGABYTE
    summary = f"{len(files)} files, {size:.1f} GB in {published}" if files else f"none in {published}"
    remedy = "" if files else "only for the papers' scale. deixis weights list"
    yield Check("weights", "published", "ok" if files else "note", summary, remedy)


def check_datasets(root: Path) -> Iterator[Check]:
    """What is there to train on, and what is trained."""
    data = root / "data"
    prepared = sorted(path.parent.name for path in data.glob("prepared/*/pairs.parquet"))
    raw = sorted(path.name for path in data.glob("raw/*") if path.is_dir() and path.name != "pretraining")
    waiting = [name for name in raw if name not in prepared]
    yield Check("data", "prepared", *_listed(prepared, "dvc repro prepares the embedded scenes"))
    if waiting:
        remedy = "name them under run.datasets in params.yaml, then: dvc repro"
        yield Check("data", "raw", "note", f"not prepared: {', '.join(waiting)}", remedy)
    for kind in ("teachers", "map_teachers", "students"):
        names = sorted(f"{path.parts[-3]}/{path.parts[-2]}" for path in data.glob(f"{kind}/*/*/config.json"))
        remedy = "only where run.map_teachers in params.yaml names some" if kind == "map_teachers" else "dvc repro"
        yield Check("data", kind, *_listed(names, remedy))


def check_disk(root: Path) -> Iterator[Check]:
    """Room for what the default run writes."""
    free = shutil.disk_usage(root).free / GIGABYTE
    enough = free >= ROOM or (root / "data" / "labels").is_dir()
    remedy = "" if enough else f"the default run writes up to {ROOM:.0f} GB: make room, or run: dvc gc -w"
    yield Check("disk", "free", "ok" if enough else "broken", f"{free:.1f} GB", remedy)


def show(checks: list[Check]) -> None:
    """Print a table, and how many problems there are."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    table = Table("", "what", "found", "what to do", box=None)
    colours = {"ok": "green", "note": "yellow", "broken": "red"}
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            table.add_row(f"[bold]{group}[/]")
        table.add_row(f"[{colours[check.state]}]{check.state}[/]", check.name, check.found, check.remedy)
    console.print(table)
    broken = [check.name for check in checks if check.state == "broken"]
    console.print(f"broken: {', '.join(broken)}" if broken else "nothing that the default run needs is broken")


def _listed(names: list[str], remedy: str) -> tuple[State, str, str]:
    return ("ok", ", ".join(names), "") if names else ("note", "none", remedy)


def read_project() -> dict[str, Any]:
    """What pyproject.toml says of this project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
