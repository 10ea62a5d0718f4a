"""From a file to decisions in a log: what is new in it, what is known, and where it disagrees."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deixis.core.errors import ConfigError, DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.registry import resolve
from reviewing.decisions import Decision
from reviewing.returned import READERS
from reviewing.returned.matching import Matched, Said, match
from reviewing.returned.sent import SentImages
from reviewing.returned.types import Reader, ReturnedFile, utc
from reviewing.same_box import same_box

LONGEST_NAME = 200  # characters that a message shows


@dataclass(frozen=True)
class Conflict:
    """A decision that stood, and another one about the same label that a file holds."""

    standing: Decision
    read: Decision
    is_taken: bool
    why: str

    def __str__(self) -> str:
        """In words."""
        told = [f"{one.verdict} by {one.who}, {one.when[:16]}" for one in (self.standing, self.read)]
        return f"{self.read.sample_id}: {told[0]} ({self.standing.source}), against {told[1]}: {self.why}"


@dataclass(frozen=True)
class Taken:
    """Decisions of a file, sorted by what the log knows of them."""

    new: list[Decision]
    known: int
    conflicts: list[Conflict]


def read_returned(path: Path, kind: str) -> ReturnedFile:
    """Read a file of a kind in `READERS`.

    Raises:
        DataError: If it is missing, or anything else than such a file.
    """
    reader: Reader = resolve(READERS, kind, role="format")
    remedy = f"Unpack archives, and name the file or folder that {kind} exported, with its format: --from"
    with foreign_bytes(path, f"labels as {kind} exports them", remedy, missing=remedy):
        return reader(path)


def changed_at(path: Path) -> str:
    """When a file, or the newest one of a folder, was last written, in UTC."""
    files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
    newest = max((one.stat().st_mtime for one in files), default=0.0)
    return datetime.fromtimestamp(newest, UTC).isoformat(timespec="microseconds")


def find_again(path: Path, kind: str, sent: SentImages, *, who: str | None, only_changes: bool) -> tuple[Matched, Said]:
    """The decisions of a file about labels that went out.

    Raises:
        DataError: If it is none, or is about other labels.
        ConfigError: If nobody is named whose decisions they are.
    """
    file = read_returned(path, kind)
    models = file.all_models()
    if models and not models & sent.models:
        raise DataError(
            f"{path}: its labels are of {', '.join(sorted(models)[:3])}, and those of --labels of "
            f"{', '.join(sorted(sent.models)[:3])}. Name the labels.parquet that went out: --labels"
        )
    said = Said(who, changed_at(path), kind, only_changes)
    matched = match(file, sent, said)
    another = "These are corrections of another dataset. Name the labels that went out: --labels"
    if not matched.images:
        named = file.images[0].name[-LONGEST_NAME:] if file.images else "none"
        why = f"; {matched.notes[0].what}" if matched.notes else ""
        raise DataError(
            f"{path}: none of its {len(file.images)} images (the first: {named}{why}) has labels. {another}"
        )
    if matched.unlike > matched.alike:
        raise DataError(
            f"{path}: {matched.unlike} of its {matched.unlike + matched.alike} phrases or ids are not those of its "
            f"images' labels. {another}"
        )
    if not matched.alike and matched.strange > matched.placed:
        raise DataError(
            f"{path}: has no phrases or ids of the labels, and {matched.strange} of its "
            f"{matched.strange + matched.placed} boxes lie where no label does. {another}"
        )
    if matched.nameless:
        raise ConfigError(f"{path}: does not say who made {matched.nameless} of its decisions. Say who: --who NAME")
    return matched, said


def sort_out(
    decisions: Iterable[Decision],
    history: Mapping[str, Sequence[Decision]],
    said: Said,
    *,
    silent: Collection[str] = (),
) -> Taken:
    """Tell new decisions from known ones; of two that disagree the newer counts.

    A label that merely stayed undoes no decision. Nor does what was once taken from a file that says no time: it would
    be new again whenever the file is copied.

    Args:
        silent: sample_ids of labels of which nothing says that somebody looked at them.
    """
    new, conflicts, known = [], [], 0
    for decision in decisions:
        past = history.get(decision.sample_id, ())
        if not past:
            new.append(decision)
        elif _agree(past[-1], decision):
            known += 1
        elif any(_agree(one, decision) and (one.who, one.when) == (decision.who, decision.when) for one in past):
            known += 1
        else:
            is_newer = (utc(decision.when) or "") >= (utc(past[-1].when) or "")
            why = "the file's is newer and counts" if is_newer else "the one before is newer and stays"
            if is_newer and decision.sample_id in silent:
                is_newer, why = False, "it stayed as it went out, and nothing says that somebody looked: not taken"
            elif is_newer and any(_is_that(one, decision, said) for one in past):
                is_newer, why = False, "it was taken from such a file before, and changed since: not taken again"
            conflicts.append(Conflict(past[-1], decision, is_newer, why))
            new += [decision] if is_newer else []
    return Taken(new, known, conflicts)


def _agree(one: Decision, other: Decision) -> bool:
    if "reject" in (one.verdict, other.verdict):
        return one.verdict == other.verdict
    return same_box(one.box, other.box)


def _is_that(past: Decision, decision: Decision, said: Said) -> bool:
    is_same = _agree(past, decision) and (past.who, past.source) == (decision.who, decision.source)
    return is_same and (decision.when in (said.when, past.when))
