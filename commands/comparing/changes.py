"""What was changed between two commits: settings, code, data, exposure, and what differs in speed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from commands.comparing.revisions import Predictor, Revision
from deixis.weights.exposure import worst

NOTHING = "–"
CODE = "data/code.json"
GIVEN = ("data/raw", "data/prepared", "data/published", "reports/published.csv")  # what results are measured on
MACHINE = ("device", "threads", "torch")


def settings(base: Revision, head: Revision) -> pd.DataFrame:
    """Settings of params.yaml that differ: setting, base, head."""
    before, after = (dict(_flat(side.yaml("params.yaml"))) for side in (base, head))
    return _differing(before, after, "setting")


def _flat(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, str(node)


def _differing(before: Mapping[str, str], after: Mapping[str, str], what: str) -> pd.DataFrame:
    rows = [
        {what: name, "base": before.get(name, NOTHING), "head": after.get(name, NOTHING)}
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    return pd.DataFrame(rows, columns=[what, "base", "head"])


def code(base: Revision, head: Revision) -> pd.DataFrame:
    """Stages and methods whose code differs, by fingerprint: what their results were made with."""
    return _differing(_fingerprints(base), _fingerprints(head), "stage or method")


def _fingerprints(side: Revision) -> dict[str, str]:
    entries = [stage.get("params", {}).get(CODE, {}) for stage in side.lock.values()]
    return {name: str(value) for listed in entries for name, value in listed.items()}


def modules(base: Revision, head: Revision) -> list[str]:
    """Modules whose code differs, where both sides' lists are at hand."""
    before, after = ((side.json(CODE) or {}).get("modules") for side in (base, head))
    return [] if not before or not after else _differing(before, after, "module")["module"].tolist()


def data(base: Revision, head: Revision) -> pd.DataFrame:
    """Data sets and published files that differ, by checksum."""
    before, after = (
        {path: md5[:10] for path, md5 in _checksums(side, "deps", "outs").items() if path.startswith(GIVEN)}
        for side in (base, head)
    )
    return _differing(before, after, "data")


def made(base: Revision, head: Revision) -> dict[str, int]:
    """How many outputs of stages differ, by folder."""
    before, after = (_checksums(side, "outs") for side in (base, head))
    differing = [path for path in {*before, *after} if before.get(path) != after.get(path)]
    counts = Counter("/".join(path.split("/")[:2]) for path in differing)
    return dict(sorted(counts.items()))


def _checksums(side: Revision, *kinds: str) -> dict[str, str]:
    entries = [entry for stage in side.lock.values() for kind in kinds for entry in stage.get(kind, [])]
    return {entry["path"]: str(entry["md5"]) for entry in entries if "md5" in entry}


def exposures(base: Revision, head: Revision) -> pd.DataFrame:
    """The most that a frozen model has learned from each evaluation split, on both sides."""
    before, after = (side.json("reports/leakage.json") or {} for side in (base, head))
    return pd.DataFrame(
        [
            {"dataset": dataset, "split": split}
            | {side: _level(report, dataset, split) for side, report in (("base", before), ("head", after))}
            for dataset in sorted({*before, *after})
            for split in sorted({*before.get(dataset, {}), *after.get(dataset, {})})
        ],
        columns=["dataset", "split", "base", "head"],
    )  # fmt: skip


def _level(report: dict[str, Any], dataset: str, split: str) -> str:
    models = report.get(dataset, {}).get(split)
    return worst(models.values())["level"] if models else NOTHING


def speeds(names: list[Predictor], base: Revision, head: Revision) -> tuple[pd.DataFrame, bool]:
    """Milliseconds per phrase at batch 1 on both sides, and whether all were timed on what calls itself one machine."""
    rows, alike = [], True
    for dataset, predictor in names:
        before, after = (side.json(f"reports/speed/{dataset}/{predictor}.json") for side in (base, head))
        if before and after:
            machines = [" ".join(f"{name} {timed.get(name)}" for name in MACHINE) for timed in (before, after)]
            alike &= machines[0] == machines[1]
            times = [timed["milliseconds"]["total"]["median"] for timed in (before, after)]
            row = {
                "dataset": dataset,
                "predictor": predictor,
                "base, ms": f"{times[0]:.1f}",
                "head, ms": f"{times[1]:.1f}",
            }
            row["head / base"] = f"{times[1] / times[0]:.2f}" if times[0] else NOTHING
            rows.append(row | {"base on": machines[0], "head on": machines[1]})
    return pd.DataFrame(rows), alike
