"""`deixis take-decisions`: corrected labels come back from another tool, and become decisions in the log."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from cyclopts import Parameter

from deixis.core.progress import say
from deixis.core.records import write_csv
from reviewing.decisions import VERDICTS
from reviewing.log import DecisionLog
from reviewing.places import LOG, TABLE, decisions_folder, images_table
from reviewing.returned.sent import read_sent
from reviewing.returned.taking import Taken, find_again, sort_out
from reviewing.returned.types import Note, storable
from reviewing.shared_table import take_in
from reviewing.table import write_decisions

Format = Literal["coco", "label-studio", "cvat", "fiftyone", "yolo", "parquet"]
SHOWN = 10  # conflicts and notes that are told; the file has all
NOT_TAKEN = "not_taken.csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def take_decisions(
    file: Path,
    *,
    from_: Annotated[Format, Parameter(name="--from")],
    labels: Path,
    images: Path | None = None,
    image_root: Path | None = None,
    decisions: Path | None = None,
    who: str | None = None,
    min_score: float | None = None,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    only_changes: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Take decisions from labels that went out with `deixis export` and were corrected in another tool.

    A label that stayed is accepted, a moved box is taken, and a label that is gone from an image of the file is
    rejected. The log gets what is new, the table of decisions is written beside it, and what became no decision is
    listed in not_taken.csv there.

    Args:
        file: What the tool exported; a folder for YOLO. Unpack archives first.
        from_: Its format.
        labels: The labels.parquet that went out.
        images: images.parquet of the same images; by default where the graph or `deixis label` keeps it.
        image_root: As given to `deixis export`.
        decisions: The log; by default data/decisions/<dataset>/log.sqlite, or decisions/log.sqlite beside the labels.
        who: Whose decisions they are, where the file does not say.
        min_score: As given to `deixis export`: labels below it did not go out, so that they are not missing.
        everything: As given to `deixis export`: labels that were not accepted went out, too.
        only_changes: Take no label for accepted because it stayed: for files whose images not all were looked at.
        dry_run: Tell what would be taken, and write nothing.
    """
    sent = read_sent(
        labels,
        images or images_table(labels),
        image_root=image_root,
        everything=everything,
        min_score=min_score,
    )
    matched, said = find_again(file, from_, sent, who=who, only_changes=only_changes)
    log_path = decisions or decisions_folder(labels) / LOG
    if dry_run and not log_path.exists():
        taken = sort_out(matched.decisions, {}, said)
    else:
        with DecisionLog(log_path) as log:
            if not dry_run:
                take_in(log, log_path.with_name(TABLE))
            taken = sort_out(matched.decisions, log.history(), said, silent=matched.silent)
            if not dry_run:
                log.append(taken.new)
                write_decisions(log.standing().values(), log_path.with_name(TABLE))
                write_csv(not_taken(taken, matched.notes), log_path.with_name(NOT_TAKEN))
    tell(taken, matched.notes, unchanged=matched.unchanged, place=log_path, dry_run=dry_run)


def not_taken(taken: Taken, notes: Sequence[Note]) -> pd.DataFrame:
    """What became no decision, and every conflict: image, label, what."""
    rows = [(note.image, note.label, note.what) for note in notes]
    rows += [("", conflict.read.sample_id, str(conflict)) for conflict in taken.conflicts]
    table = pd.DataFrame(rows, columns=["image", "label", "what"])
    return table.map(lambda text: storable(f"'{text}" if text.startswith(FORMULA) else text))


def tell(taken: Taken, notes: Sequence[Note], *, unchanged: int, place: Path, dry_run: bool) -> None:
    """Print what was taken, conflicts, and what was not."""
    counts = Counter(decision.verdict for decision in taken.new)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    more = {
        "already known": taken.known,
        "unchanged and not taken": unchanged,
        "against decisions that stood": len(taken.conflicts),
        "notes": len(notes),
    }
    others = ", ".join(f"{count} {what}" for what, count in more.items() if count)
    say(f"{place}: {said}{'; ' + others if others else ''}{' (nothing was written)' if dry_run else ''}")
    _tell_first([str(conflict) for conflict in taken.conflicts], place.with_name(NOT_TAKEN), dry_run=dry_run)
    told = [": ".join(filter(None, (note.image, note.label, note.what))) for note in notes]
    _tell_first(told, place.with_name(NOT_TAKEN), dry_run=dry_run)


def _tell_first(lines: Sequence[str], place: Path, *, dry_run: bool) -> None:
    for line in lines[:SHOWN]:
        say(f"  {line}")
    if len(lines) > SHOWN:
        say(f"  and {len(lines) - SHOWN} more" + ("" if dry_run else f", all in {place}"))
