"""What a stage asks a cluster for: its `meta` in dvc.yaml, against what the nodes have."""

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from deixis.core.errors import ConfigError
from pipelines.cluster.nodes import Node

AUTO = "auto"
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
ALLOWED = (
    "gpus: a number or auto, cpus: a number, memory: as 8GB, pieces: true, false or a number of rounds, "
    "ranks: a whole number"
)
# Commands that are no stages, by the module that runs them
COMMANDS = {"deixis": {"gpus": AUTO, "pieces": True}}
MOST_ROUNDS = 9


@dataclass(frozen=True)
class Needs:
    """What one task of a stage occupies while it runs.

    Attributes:
        gpus: Of one node; "auto" for one where any node has one, else none.
        memory: Bytes.
        pieces: In how many rounds several tasks do pieces of the work beforehand; a round begins when all of the last
            one is done.
        ranks: How many processes train together (pipelines/training_ranks.py), each with `cpus`.
    """

    gpus: float | str = 0
    cpus: float = 1
    memory: int = 0
    pieces: int = 0
    ranks: int = 1

    def __str__(self) -> str:
        memory = f", memory: {self.memory / 1e9:g}GB" if self.memory else ""
        return f"{{gpus: {self.gpus:g}, cpus: {self.cpus:g}{memory}}}"

    def settled(self, nodes: Sequence[Node]) -> "Needs":
        """With a number of GPUs."""
        return replace(self, gpus=float(any(node.gpus for node in nodes))) if self.gpus == AUTO else self

    def fits(self, node: Node) -> bool:
        """Whether an idle node has all of it."""
        return self.cpus <= node.cpus and float(self.gpus) <= node.gpus and self.memory <= node.memory

    def shares(self, nodes: Sequence[Node]) -> int:
        """How many tasks the cluster holds at once: by its GPUs, else by its cores.

        Without a GPU, a task's threads keep OMP_NUM_THREADS cores busy; unless that is set, all of its node.
        """
        stated = re.match(r"[1-9]\d*", os.environ.get("OMP_NUM_THREADS", ""))  # or a list
        threads = int(stated[0]) if stated else float("inf")
        held = 0
        for node in filter(self.fits, nodes):
            by_memory = node.memory // self.memory if self.memory else node.cpus
            by_cpus = node.cpus // self.cpus if self.cpus else node.cpus
            by_threads = node.gpus // float(self.gpus) if self.gpus else max(1, node.cpus // min(threads, node.cpus))
            held += int(max(1, min(by_memory, by_cpus, by_threads)))
        cap = os.environ.get("DEIXIS_PIECES") or str(held)
        if not re.fullmatch(r"[1-9]\d*", cap):
            raise ConfigError(f'DEIXIS_PIECES is "{cap}". Allowed: 1 or more, or nothing. Fix it, or unset it')
        return min(held, int(cap))


def needs_of(module: str, stage: str) -> Needs:
    """What a stage asks for.

    Args:
        stage: As DVC names it, "extract_features@scenes-detector"; without, the first that runs the module counts.

    Raises:
        ConfigError: If its meta cannot be read.
    """
    meta = COMMANDS.get(module)
    return _parsed(_meta(module, stage) if meta is None else meta, stage or module)


def refuse_unfit(needs: Needs, nodes: Sequence[Node], stage: str) -> None:
    """Stop where no node would ever do, which Ray waits for.

    Raises:
        ConfigError: Says what was asked for and what there is.
    """
    if not any(map(needs.fits, nodes)):
        raise ConfigError(
            f"{stage} asks for {needs}, and no node has that. There are: {'; '.join(map(str, nodes))}. Add a node that "
            "has it, or ask for less: meta of the stage in dvc.yaml"
        )


def _meta(module: str, stage: str) -> Any:
    """The meta of the stage of that name that runs the module, else of the first that does; empty where none does."""
    name = stage.rpartition(":")[2].partition("@")[0]
    running = []
    for path in [Path("dvc.yaml"), *sorted(Path().glob("*/dvc.yaml"))]:
        for key, entry in _stages(path).items():
            if re.search(rf"python -m {re.escape(module)}(\s|$)", str(entry.get("cmd"))):
                running.append((key == name, entry.get("meta")))
    named = [meta for is_named, meta in running if is_named]
    return next(iter(named or [meta for _, meta in running]), None) or {}


def _stages(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        stages = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["stages"]
        return {name: entry.get("do", entry) for name, entry in stages.items()}
    except (OSError, UnicodeDecodeError, YAMLError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path}: cannot be read as a graph. See what is wrong with: dvc stage list") from None


def _parsed(meta: Any, stage: str) -> Needs:
    known = asdict(Needs())
    if not isinstance(meta, dict) or set(meta) - set(known):
        raise ConfigError(f"{stage}: meta is {meta}. Allowed: {ALLOWED}. Fix dvc.yaml")
    needs = dict(meta)
    for key in ("gpus", "cpus"):
        value = meta.get(key, 0)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
        if not is_number and (key, value) != ("gpus", AUTO):
            raise ConfigError(f'{stage}: meta.{key} is "{value}". Allowed: {ALLOWED}. Fix dvc.yaml')
    if "memory" in meta:
        size = re.fullmatch(r"(\d+(?:\.\d+)?) ?(KB|MB|GB|TB)", str(meta["memory"]))
        if not size:
            raise ConfigError(f'{stage}: meta.memory is "{meta["memory"]}". Allowed: {ALLOWED}. Fix dvc.yaml')
        needs["memory"] = int(float(size[1]) * UNITS[size[2]])
    needs["pieces"] = meta.get("pieces", 0)
    if needs["pieces"] not in range(MOST_ROUNDS + 1):
        raise ConfigError(f'{stage}: meta.pieces is "{meta["pieces"]}". Allowed: {ALLOWED}. Fix dvc.yaml')
    if type(meta.get("ranks", 1)) is not int or meta.get("ranks", 1) < 1:
        raise ConfigError(f'{stage}: meta.ranks is "{meta["ranks"]}". Allowed: {ALLOWED}. Fix dvc.yaml')
    return Needs(**needs | {"pieces": int(needs["pieces"])})
