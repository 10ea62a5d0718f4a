"""What a reviewer reads, in the order of interest: sections of notes and one table each, for Markdown and the page."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from commands.comparing import changes
from commands.comparing.comparison import Comparison
from commands.comparing.results import Flip, Headline
from deixis.measuring.paired import VISIBLE, Difference

LONG = 100  # characters of a setting's value


@dataclass(frozen=True)
class Section:
    """One heading with what stands under it.

    Attributes:
        notes: Before the table.
        after: What explains it, below.
        words: Columns whose text comes from users' files; Markdown shows it as code, so that none of it has an effect.
        rows: Of the table, at most, in Markdown; the page has all.
    """

    title: str
    notes: list[str]
    _: KW_ONLY
    after: list[str] = field(default_factory=list)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    words: tuple[str, ...] = ()
    rows: int = 60


def sections(found: Comparison) -> list[Section]:
    """All but the pictures."""
    return [
        _headlines(found.headlines),
        Section("Groups of phrases that moved", _about_groups(found), table=_group_table(found)),
        _flipped(found.flips),
        *_what_changed(found),
        _exposure(found),
        _speed(found),
    ]


def verdicts(rows: Sequence[Headline]) -> str:
    """The whole in a line."""
    counts = Counter(row.verdict for row in rows)
    order = ("better", "worse", "no difference seen", "the same")
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict])


def points(value: float, *, signed: bool = False) -> str:
    """A fraction in percent points with one decimal; a dash where there is none."""
    if np.isnan(value):
        return changes.NOTHING
    shown = round(100 * value, 1) + 0.0  # no minus zero
    return f"{shown:+.1f}" if signed else f"{shown:.1f}"


def _with_interval(difference: Difference) -> str:
    estimate, low, high = (
        points(value, signed=True) for value in (difference.estimate, difference.low, difference.high)
    )
    return f"{estimate} [{low}, {high}]"


def _headlines(rows: Sequence[Headline]) -> Section:
    by_name: dict[str, list[Headline]] = {}
    for row in rows:
        by_name.setdefault(f"{row.dataset}/{row.predictor}", []).append(row)
    notes = [f"{len(rows)} numbers: {verdicts(rows)}."]
    if same := [name for name, its in by_name.items() if all(row.verdict == "the same" for row in its)]:
        notes.append(f"Every answer is the same: {', '.join(same)}.")
    after = [*_about_trainings(rows), *_about_intervals(rows)]
    return Section("Headline numbers", notes, after=after, table=_headline_table(rows))


def _headline_table(rows: Sequence[Headline]) -> pd.DataFrame:
    """The worst first; what is the same is left out."""
    order = ("worse", "better", "no difference seen")
    return pd.DataFrame(
        [
            {
                "predictor": f"{row.dataset}/{row.predictor}",
                "number": row.metric,
                "verdict": row.verdict,
                "difference": _with_interval(row.difference),
                "base": points(row.difference.base),
                "head": points(row.difference.head),
                "not seen below": points(row.difference.visible) if row.difference.error else changes.NOTHING,
                "compares": row.training,
            }
            for verdict in order
            for row in rows
            if row.verdict == verdict
        ]
    )


def _about_intervals(rows: Sequence[Headline]) -> list[str]:
    changed = sum(row.difference.changed > 0 for row in rows)
    return [
        "In percent. A difference is head minus base over the same phrases, with its 95 % interval over images. "
        f"Verdicts are corrected for all {changed} numbers that changed (Holm); intervals are not, so one may leave "
        "out zero where no difference is called.",
        f'"Not seen below": {VISIBLE} standard errors. A smaller difference would be missed more often than once in '
        "five times, and with the correction larger ones, too.",
    ]


def _about_trainings(rows: Sequence[Headline]) -> Iterator[str]:
    counts = Counter(row.training for row in rows if row.difference.changed)
    if counts["two trainings"]:
        yield (
            f"{counts['two trainings']} numbers compare these two trainings, one on each side. What another training "
            "seed would have changed on either side is not in their intervals: a verdict is about these two trained "
            "models, and not yet about the change between the commits. How to count seeds in: docs/reviewing.md."
        )
    if counts["seeds counted in"]:
        yield (
            f"{counts['seeds counted in']} numbers have the spread between training seeds in their intervals, on both "
            "sides, as it was measured on several trainings."
        )


def _group_table(found: Comparison) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "predictor": f"{group.dataset}/{group.predictor}",
                "group": group.name,
                "phrases": group.difference.phrases,
                "base": points(group.difference.base),
                "head": points(group.difference.head),
                "difference": _with_interval(group.difference),
            }
            for group in found.groups
            if group.moved
        ]
    )  # fmt: skip


def _about_groups(found: Comparison) -> list[str]:
    moved = sum(group.moved for group in found.groups)
    changed = sum(group.difference.changed > 0 for group in found.groups)
    return [
        f"{moved} of {len(found.groups)} groups by difficulty of the phrase, Acc@0.5; corrected for the {changed} that "
        "changed by false discovery rate (Benjamini and Hochberg, 5 %); over images alone, whatever is known of seeds."
    ]


def _about_flips(flips: Sequence[Flip]) -> list[str]:
    counts = Counter((f"{flip.dataset}/{flip.predictor}", flip.won) for flip in flips)
    names = dict.fromkeys(name for name, _ in counts)
    listed = "; ".join(f"{name}: {counts[name, True]} won, {counts[name, False]} lost" for name in names)
    return [f"Right on one side alone. {listed}." if listed else "None."]


def _flipped(flips: Sequence[Flip]) -> Section:
    return Section("Phrases that flipped", _about_flips(flips), table=flip_table(flips), words=("phrase",), rows=20)


def flip_table(flips: Sequence[Flip]) -> pd.DataFrame:
    """One row per phrase."""
    return pd.DataFrame(
        [
            {
                "phrase": flip.expression,
                "predictor": f"{flip.dataset}/{flip.predictor}",
                "head": "won" if flip.won else "lost",
                "IoU": f"{flip.base_iou:.2f} → {flip.head_iou:.2f}",
                "image": flip.image_id,
                "true box": _corners(flip.true_box),
                "base's box": _corners(flip.base_box),
                "head's box": _corners(flip.head_box),
            }
            for flip in flips
        ]
    )


def _corners(box: Any) -> str:
    values = np.asarray(box, float)
    return ", ".join(f"{value:.0f}" for value in values) if np.isfinite(values).all() else changes.NOTHING


def _what_changed(found: Comparison) -> Iterator[Section]:
    settings = changes.settings(found.base, found.head)
    shown = settings.assign(**{side: settings[side].map(_short) for side in ("base", "head")})
    yield Section("Settings", _none_where(settings), table=shown, words=("setting", "base", "head"))
    code, modules = changes.code(found.base, found.head), changes.modules(found.base, found.head)
    notes = _none_where(code) + ([f"Modules: {', '.join(modules)}."] if modules else [])
    yield Section("Code, by fingerprint", notes, table=code)
    data, made = changes.data(found.base, found.head), changes.made(found.base, found.head)
    outputs = ", ".join(f"{count} in {folder}" for folder, count in made.items())
    notes = [*_none_where(data), f"Outputs of stages that differ: {outputs or 'none'}."]
    yield Section("Data, by checksum", notes, table=data)


def _short(value: str) -> str:
    return value if len(value) <= LONG else f"{value[:LONG]}..."


def _none_where(table: pd.DataFrame) -> list[str]:
    return ["No difference."] if table.empty else []


def _exposure(found: Comparison) -> Section:
    table = changes.exposures(found.base, found.head)
    differs = not table["base"].equals(table["head"])
    note = "It differs." if differs else "The same on both sides."
    return Section("Exposure: what frozen models have learned of the evaluation images", [note], table=table)


def _speed(found: Comparison) -> Section:
    table, alike = changes.speeds(found.predictors, found.base, found.head)
    if table.empty:
        return Section("Speed", ["Not measured on both sides."])
    warning = (
        "Device, threads and torch are the same on both sides; whether it was the same machine, and idle, the files do "
        "not say."
        if alike
        else "WARNING: the two sides were timed on different machines or versions, so that their times do not compare."
    )
    return Section("Speed: median per phrase at batch 1", [warning], table=table)
