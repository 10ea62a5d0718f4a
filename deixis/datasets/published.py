"""What the published sets hold, and whether a folder holds the same.

Images and refs: the TensorFlow Datasets catalogue (ref_coco). Expressions: FlagEval's RefCOCO documentation,
RefCLIP 5.1, issue 2 of varun-nagaraja/referring-expressions, issue 7 of luogen1996/MCN, the Ref-L4 card; RefCOCOg as it
can be had, without google's withheld test split. ReferItGame: the cleaned release, RefCLIP 5.1 and refer's README.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from deixis.core.errors import DataError
from deixis.core.progress import say

PublishedSet = Literal[
    "refcoco_unc", "refcoco_google", "refcoco_plus_unc", "refcocog_umd", "refcocog_google", "referit_berkeley"
]
TOTAL = "all"


@dataclass(frozen=True)
class Counts:
    """Counts of one split; None where no source gives it."""

    images: int | None = None
    refs: int | None = None
    expressions: int | None = None
    unsure: frozenset[str] = frozenset()  # figures that rest on one secondary source or on a difference


def _counts(images: int | None, refs: int | None, expressions: int | None, *unsure: str) -> Counts:
    return Counts(images, refs, expressions, frozenset(unsure))


PUBLISHED: dict[str, dict[str, Counts]] = {
    "refcoco_unc": {
        "train": _counts(16_994, 42_404, 120_624),
        "val": _counts(1_500, 3_811, 10_834),
        "testA": _counts(750, 1_975, 5_657),
        "testB": _counts(750, 1_810, 5_095),
        TOTAL: _counts(19_994, 50_000, 142_210),
    },
    "refcoco_google": {
        "train": _counts(19_213, 40_000, None),
        "val": _counts(4_559, 5_000, None),
        "test": _counts(4_527, 5_000, None),
        TOTAL: _counts(19_994, 50_000, 142_210, "images", "expressions"),
    },
    "refcoco_plus_unc": {
        "train": _counts(16_992, 42_278, 120_191),
        "val": _counts(1_500, 3_805, 10_758, "expressions"),
        "testA": _counts(750, 1_975, 5_726, "expressions"),
        "testB": _counts(750, 1_798, 4_889, "expressions"),
        TOTAL: _counts(19_992, 49_856, 141_564),
    },
    "refcocog_umd": {
        "train": _counts(21_899, 42_226, 80_512),
        "val": _counts(1_300, 2_573, 4_896),
        "test": _counts(2_600, 5_023, 9_602),
        TOTAL: _counts(25_799, 49_822, 95_010),
    },
    "refcocog_google": {
        "train": _counts(24_698, 44_822, 85_474, "expressions"),
        "val": _counts(4_650, 5_000, 9_536, "expressions"),
        TOTAL: _counts(25_799, 49_822, 95_010),
    },
    "referit_berkeley": {
        "train": _counts(8_998, None, 54_127, "images", "expressions"),
        "val": _counts(1_000, None, 5_842, "images", "expressions"),
        "test": _counts(9_999, None, 60_103, "images", "expressions"),
        TOTAL: _counts(19_997, 99_220, 120_072),
    },
}


def count_rows(rows: Iterable[tuple[str, str, str, int]]) -> dict[str, Counts]:
    """Counts per split and in all, from rows (split, image, ref, number of expressions)."""
    images: dict[str, set[str]] = {TOTAL: set()}
    refs: dict[str, set[str]] = {TOTAL: set()}
    expressions: dict[str, int] = {TOTAL: 0}
    for split, image, ref, number in rows:
        for name in (split, TOTAL):
            images.setdefault(name, set()).add(image)
            refs.setdefault(name, set()).add(ref)
            expressions[name] = expressions.get(name, 0) + number
    return {name: Counts(len(images[name]), len(refs[name]), expressions[name]) for name in images}


def _differences(found: Mapping[str, Counts], published: Mapping[str, Counts]) -> tuple[list[str], bool]:
    """A line for every figure that differs, and whether a certain one does."""
    lines, certain = [], False
    for split in [*published, *(name for name in found if name not in published)]:
        known, here = published.get(split, Counts(0, 0, 0)), found.get(split, Counts(0, 0, 0))
        for what in ("images", "refs", "expressions"):
            wanted, got = getattr(known, what), getattr(here, what)
            if wanted is not None and wanted != got:
                certain |= what not in known.unsure
                note = " (uncertain)" if what in known.unsure else ""
                lines.append(f"  {split:<6} {what:<12} found {got:>8,}  published {wanted:>8,}{note}")
    return lines, certain


def compare(counts: Mapping[str, Counts], *, expect: PublishedSet, dataset: str, allow_other_counts: bool) -> None:
    """Hold the counts of a source against those of the published set.

    Raises:
        DataError: If a figure that is certain differs, with the table of all that differ; only printed where the
            setting allows other counts or no certain figure differs.
    """
    lines, certain = _differences(counts, PUBLISHED[expect])
    if not lines:
        return
    table = "\n".join(lines)
    if not certain or allow_other_counts:
        say(f"{dataset}: counts differ from those published for {expect}:\n{table}")
        return
    raise DataError(
        f"{dataset}: the files do not hold what is published as {expect}:\n{table}\n"
        f"Fetch them again, name another set in datasets.{dataset}.expect, or set "
        f"datasets.{dataset}.allow_other_counts: true; then run: dvc repro prepare@{dataset}"
    )
