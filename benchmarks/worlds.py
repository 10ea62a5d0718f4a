"""The headline numbers in other worlds: other scenes, phrases and frozen models, the same settings.

Settings were tried out on the world of seed 0, so what they are worth elsewhere is measured here: by default the
teachers of `scenes`, and students with the help and the time that they need, of which the default run has neither.
Each world is a clone of the last commit under --folder, built by the flow; a second call builds what a newer commit
made stale. Truth is read by the clones' own evaluation stages.

run     python -m benchmarks.worlds [--seeds 1 2 3] [--settings=run.students=[simrec,mattnet] ...]
"""

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from scipy.stats import t as student

from deixis.core.cli import run_app
from deixis.core.errors import ConfigError
from deixis.core.progress import say
from deixis.core.records import read_json, write_json

LEVEL = 0.95
HEADLINES = Path("reports/headlines")
MEASURES = ("acc50", "miou")
VIEWS = {"placings": 6, "mirror_share": 0.5, "coordinates": True}
CELLS = VIEWS | {"weight_choice": 1.0, "resize_sides": [128]}
HELP = {  # epochs and settings; docs/methods.md
    "simrec": (14, CELLS),
    "realgin": (14, CELLS),
    "transvg": (40, VIEWS),
    "mcn": (14, CELLS | {"head_width": 64}),
}
HELPED = (
    "run.datasets=[scenes]",
    "run.reference_datasets=[scenes]",
    f"run.students=[{','.join(HELP)}]",
    *(f"students.{name}.recipe.epochs={epochs}" for name, (epochs, _) in HELP.items()),
    *(
        f"students.{name}.model.{key}={json.dumps(value)}"
        for name, (_, of) in HELP.items()
        for key, value in of.items()
    ),
)
Scores = dict[str, dict[str, dict[str, list[float]]]]  # dataset -> predictor -> measure -> one per world


def main(
    *,
    seeds: Sequence[int] = (1, 2, 3),
    settings: Sequence[str] = HELPED,
    folder: Path = Path("scratch/worlds"),
    out: Path = Path("reports/worlds.json"),
    build: bool = True,
) -> None:
    """Build the worlds, write their numbers, print a table of means.

    Args:
        seeds: Of the worlds; 0 is the one that settings were tried out on.
        settings: Other values in params.yaml for these runs, as the flow takes them.
        folder: Where the clones lie.
        build: Without, only what is already built is read.
    """
    if len(set(seeds)) < 2:
        raise ConfigError(f"seeds are {list(seeds)}: of one world there is no interval. Allowed: two or more")
    worlds = {seed: folder / str(seed) for seed in seeds}
    for seed, clone in worlds.items() if build else ():
        check_out(clone, commit_of(Path()))
        say(f"world {seed}: {clone}")
        subprocess.run(rebuilding(f"seed={seed}", *settings), cwd=clone, check=True)
    commits = {commit_of(clone) for clone in worlds.values()}
    if len(commits) > 1:
        raise ConfigError(f"{folder}: worlds of {len(commits)} commits. Build them anew: python -m benchmarks.worlds")
    scores = read_scores(list(worlds.values()))
    summary = {dataset: summarise_all(predictors) for dataset, predictors in scores.items()}
    stated: dict[str, Any] = {"commit": commits.pop(), "seeds": list(seeds), "settings": list(settings)}
    write_json(stated | {"worlds": summary}, out)
    print(as_table(summary))


def rebuilding(*settings: str) -> list[str]:
    """Command line of the flow with other values in params.yaml."""
    return [sys.executable, "-m", "pipelines.rebuild", *(f"--settings={setting}" for setting in settings)]


def commit_of(checkout: Path) -> str:
    """Which one is checked out."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True)
    return asked.stdout.strip()


def check_out(clone: Path, commit: str) -> None:
    """A clone of this repository at a commit, without the commit's own numbers: they are of another world."""
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
    subprocess.run(["git", "fetch", "--quiet", "origin"], cwd=clone, check=True)
    subprocess.run(["git", "checkout", "--quiet", "--force", commit], cwd=clone, check=True)
    shutil.rmtree(clone / HEADLINES, ignore_errors=True)


def read_scores(worlds: Sequence[Path]) -> Scores:
    """Headline numbers of val, in percent, of what all worlds have."""
    found: Scores = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for world in worlds:
        for path in sorted((world / HEADLINES).glob("*/*.json")):
            stated = read_json(path, made_by="evaluate")
            for measure in MEASURES:
                if measure in stated:
                    found[path.parent.name][path.stem][measure].append(100 * stated[measure])
    return {
        dataset: {
            name: dict(of)
            for name, of in predictors.items()
            if all(len(values) == len(worlds) for values in of.values())
        }
        for dataset, predictors in found.items()
    }


def summarise_all(predictors: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Of each predictor its measures, and of a student, `<teacher>-<student>`, what it has more than its teacher."""
    summary = {}
    for name, of in predictors.items():
        summary[name] = summarise(of)
        teacher = predictors.get(name.partition("-")[0]) if "-" in name else None
        if teacher is not None:
            more = {key: [a - b for a, b in zip(of[key], teacher[key], strict=True)] for key in of if key in teacher}
            summary[name] |= {f"{key}_less_teacher": value for key, value in summarise(more).items()}
    return summary


def summarise(of: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Of each measure the value in every world, their mean, and its interval by Student's t over worlds."""
    return {
        measure: {
            "each": [round(value, 1) for value in values],
            "mean": round(float(np.mean(values)), 1),
            "interval": [round(end, 1) for end in interval(values)],
        }
        for measure, values in of.items()
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the mean of all worlds lies, if these are drawn from them."""
    reach = student.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return float(np.mean(values) - reach), float(np.mean(values) + reach)


def as_table(summary: dict[str, dict[str, dict[str, dict[str, Any]]]]) -> str:
    """Markdown: one row per predictor, one column per dataset, Acc@0.5."""
    datasets = sorted(summary)
    names = sorted({name for of in summary.values() for name, measures in of.items() if "acc50" in measures})
    lines = ["| predictor | " + " | ".join(f"`{dataset}` val" for dataset in datasets) + " |"]
    lines.append("| --- " * (1 + len(datasets)) + "|")
    for name in names:
        cells = [_cell(summary[dataset].get(name, {})) for dataset in datasets]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(measures: dict[str, dict[str, Any]]) -> str:
    if "acc50" not in measures:
        return ""
    cell = f"{_mean(measures['acc50'])}: {', '.join(map(str, measures['acc50']['each']))}"
    more = measures.get("acc50_less_teacher")
    return f"{cell}; less its teacher {_mean(more)}" if more else cell


def _mean(measured: dict[str, Any]) -> str:
    low, high = measured["interval"]
    return f"{measured['mean']} [{low}, {high}]"


if __name__ == "__main__":
    run_app(App(name="python -m benchmarks.worlds", default_command=main, version_flags=[]))
