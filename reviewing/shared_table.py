"""Decisions that another machine made: DVC brings the table, and the log here has never held them."""

from pathlib import Path

from reviewing.log import DecisionLog
from reviewing.table import read_decisions


def take_in(log: DecisionLog, table: Path) -> None:
    """Append what the table has, and the log never had; of two decisions about a phrase the later one counts.

    Whoever writes the table anew does this first: it would otherwise take other people's decisions back.
    """
    if not table.exists():
        return
    held, standing, taken = log.held(), log.standing(), []
    for decision in read_decisions(table):
        if (decision.sample_id, decision.who, decision.when) not in held:
            own = standing.get(decision.sample_id)
            taken += [decision] if own is None or own.when < decision.when else [decision, own]
    if taken:
        log.append(taken)
