"""DVC's graph as a plan: which stages there are, which are stale, and which lie below them."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from pipelines._dvc import ask

LIST_CODE = "list_code"  # whose output says which other stages are stale


@dataclass(frozen=True)
class StageNode:
    """A stage and those that must be up to date before it, in the order of a possible run."""

    name: str
    upstream: tuple[str, ...]


def plan(targets: Sequence[str] = ()) -> list[StageNode]:
    """Stages of the root graph (or those that `targets` need), each after its upstream ones.

    Without a target DVC would list every pipeline of the repository, the claims included; it takes one at a time.

    Raises:
        ConfigError: If DVC does not know a target.
    """
    return parse_dag("\n".join(ask("dag", "--dot", target) for target in targets or ("dvc.yaml",)))


def stale_stages(targets: Sequence[str] = ()) -> set[str]:
    """Names of the stages whose own inputs, command or outputs are not as DVC's lock has them.

    Raises:
        ConfigError: If DVC does not know a target.
    """
    return set(json.loads(ask("status", "--json", "--with-deps", *(targets or ("dvc.yaml",)))))


def stale_and_below(nodes: Sequence[StageNode], stale: Collection[str]) -> list[StageNode]:
    """The part of a plan that may have to run; what is upstream of it is up to date."""
    reached = set(stale)
    for node in nodes:
        if reached.intersection(node.upstream):
            reached.add(node.name)
    return [
        StageNode(node.name, tuple(name for name in node.upstream if name in reached))
        for node in nodes
        if node.name in reached
    ]


def parse_dag(dot: str) -> list[StageNode]:
    """Read DOT as `dvc dag --dot` prints it."""
    upstream: dict[str, set[str]] = {}
    for line in dot.splitlines():
        names = re.findall(r'"([^"]+)"', line)
        if "->" in line and len(names) == 2:
            upstream.setdefault(names[0], set())
            upstream.setdefault(names[1], set()).add(names[0])
        elif len(names) == 1:
            upstream.setdefault(names[0], set())
    order = TopologicalSorter({name: sorted(parents) for name, parents in sorted(upstream.items())}).static_order()
    return [StageNode(name, tuple(sorted(upstream[name]))) for name in order]
