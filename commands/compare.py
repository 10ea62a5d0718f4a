"""`deixis compare`: what a commit did to the results, and whether it is more than chance."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from commands.comparing.as_markdown import render_markdown
from commands.comparing.as_page import render_html
from commands.comparing.comparison import Comparison, compare_revisions
from commands.comparing.revisions import Revision
from commands.comparing.sections import points, sections, verdicts
from commands.comparing.seeds import read_seeds
from deixis.core.errors import ConfigError
from deixis.core.progress import say
from deixis.core.records import write_atomically


def compare(
    base: str,
    head: str | None = None,
    /,
    *,
    out: Path = Path("comparison"),
    seed_sd: Path | None = None,
    fail_if_worse: Annotated[tuple[str, ...], Parameter(negative_iterable="")] = (),
) -> None:
    """Compare the results of two commits over the same phrases, as Markdown and as a page.

    Nothing is checked out: results come from DVC's cache, or from its remote. docs/reviewing.md says how to read them.

    Exit codes: 0 done, 1 a number named by --fail-if-worse is worse, 2 a wrong name, 65 no results to compare.

    Args:
        base: A commit, branch or tag.
        head: Another; by default the working tree.
        out: Folder for comparison.md and comparison.html, which are replaced.
        seed_sd: JSON with scores of several trainings that differ by seed alone; by default reports/seeds.json of the
            head, where there is one. Their spread then widens the intervals of those predictors.
        fail_if_worse: End with exit code 1 if this number (acc50, miou, acc50_testA, ...) is worse for any predictor,
            after correction; may be given several times.
    """
    sides = Revision(base), Revision(head)
    found = compare_revisions(*sides, read_seeds(seed_sd, sides[1]))
    refuse_unknown(fail_if_worse, found)
    shown = sections(found)
    for name, text in (
        ("comparison.md", render_markdown(found, shown)),
        ("comparison.html", render_html(found, shown)),
    ):
        write_atomically(out / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))
    say(f"{out / 'comparison.html'}, {out / 'comparison.md'}: {verdicts(found.headlines)}")
    if lines := worsened(fail_if_worse, found):
        print("\n".join(lines), file=sys.stderr)
        sys.exit(1)


def refuse_unknown(metrics: tuple[str, ...], found: Comparison) -> None:
    """A gate for a number that nobody measured would let everything pass."""
    known = list(dict.fromkeys(row.metric for row in found.headlines))
    for metric in metrics:
        if metric not in known:
            raise ConfigError(
                f"--fail-if-worse is {metric}. Allowed: {', '.join(known)}, which both sides have. Name one"
            )


def worsened(metrics: tuple[str, ...], found: Comparison) -> list[str]:
    """A line for every named number that is worse."""
    return [
        f"worse: {row.metric} of {row.dataset}/{row.predictor}, {points(row.difference.estimate, signed=True)} points"
        for row in found.headlines
        if row.metric in metrics and row.verdict == "worse"
    ]
