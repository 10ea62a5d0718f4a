"""Everything that a comparison of two commits found."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from commands.comparing.pairing import Paired, pair
from commands.comparing.results import Flip, Group, Headline, flips, groups, headlines
from commands.comparing.revisions import HEADLINES, Predictor, Revision
from commands.comparing.seeds import Seeds
from deixis.core.errors import DataError

TOLERANCE = 1e-4  # to which headline files are rounded


@dataclass(frozen=True)
class Comparison:
    """Numbers, groups and phrases of the predictors that both sides have, and what a reader must be warned of."""

    base: Revision
    head: Revision
    headlines: list[Headline]
    groups: list[Group]
    flips: list[Flip]
    warnings: list[str] = field(default_factory=list)

    @property
    def predictors(self) -> list[Predictor]:
        """Dataset and predictor of all that was compared."""
        return list(dict.fromkeys((row.dataset, row.predictor) for row in self.headlines))


def compare_revisions(base: Revision, head: Revision, seeds: Seeds) -> Comparison:
    """Pair whatever pairs, and judge it.

    Raises:
        DataError: If a side has no results, or no phrase of either is a phrase of the other.
    """
    common = [name for name in base.predictors if name in head.predictors]
    pairs = [pair(*name, base, head) for name in common]
    paired = [one for one in pairs if len(one.rows)]
    if not paired:
        raise DataError(
            f"{base.label} and {head.label}: no phrase is in both, out of {len(base.predictors)} and "
            f"{len(head.predictors)} tables of results. Phrases pair by sample, image, words, split and true box; "
            "another seed in params.yaml draws others (training_seed does not). Compare commits that are measured on "
            "the same data"
        )
    rows = headlines(paired, base, head, seeds)
    warnings = [*_alone(base, head), *_unpaired(pairs), *_older(base, head), *_stale(paired, rows, base, head)]
    return Comparison(base, head, rows, groups(paired), flips(paired), warnings)


def _alone(base: Revision, head: Revision) -> list[str]:
    lists = [
        ("base", sorted({*base.predictors} - {*head.predictors})),
        ("head", sorted({*head.predictors} - {*base.predictors})),
    ]
    return [f"Only in {side}, and not compared: {_listed(names)}." for side, names in lists if names]  # fmt: skip


def _listed(names: Sequence[Predictor]) -> str:
    return ", ".join("/".join(name) for name in names)


def _unpaired(pairs: Sequence[Paired]) -> list[str]:
    """Per predictor: phrases that one side alone was asked."""
    return [
        f"{one.dataset}/{one.predictor}: {len(one.rows)} phrases are in both; {one.unpaired[0]} of base and "
        f"{one.unpaired[1]} of head have no counterpart and count for nothing."
        for one in pairs
        if any(one.unpaired)
    ]


def _older(base: Revision, head: Revision) -> list[str]:
    return [
        f"The results of {side.label} were made before there were headline files; the numbers here are computed from "
        "its per-phrase tables."
        for side in (base, head)
        if not side.has_headlines
    ]


def _stale(pairs: Sequence[Paired], rows: Sequence[Headline], base: Revision, head: Revision) -> list[str]:
    """Headline files in Git that say something else than the per-phrase tables: they were not committed together."""
    whole = {(one.dataset, one.predictor) for one in pairs if not any(one.unpaired)}
    found = []
    for row in rows:
        name = f"{row.dataset}/{row.predictor}"
        if (row.dataset, row.predictor) in whole:
            for side, value in ((base, row.difference.base), (head, row.difference.head)):
                stated = (side.json(f"{HEADLINES}/{name}.json") or {}).get(row.metric)
                if stated is not None and abs(stated - value) > TOLERANCE:
                    found.append(
                        f"{side.label}: its headline file says {row.metric} = {stated} for {name}, and its per-phrase "
                        f"table {value:.4f}, which is used. Run there: dvc repro; then commit."
                    )
    return found
