"""One person in front of a list of labels: what is asked for, what is decided, what is taken back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

import numpy as np
import pandas as pd

from deixis.core.errors import DataError
from reviewing.decisions import Box, Decision, Verdict
from reviewing.page.labels import Label, Labels
from reviewing.page.listing import Listing
from reviewing.page.pictures import Pictures
from reviewing.page.saving import SavedLog

SOURCE = "serve"
TOLERANCE = 1e-3  # pixels by which a box may reach past its image or be thinner: what a browser's arithmetic leaves


class Unfit(DataError):
    """A decision that does not fit its label."""


@dataclass(frozen=True)
class Choice:
    """What somebody decides, as it comes from the page.

    Attributes:
        box: Where the verdict is `box`.
        label_box: What the page showed as the label, if it says so; a label that has changed since is refused.
    """

    sample_id: str
    verdict: Verdict
    box: Box | None = None
    label_box: Box | None = None


class Desk:
    """Labels with their images and decisions. Its methods may be called from several threads."""

    def __init__(self, labels: Labels, pictures: Pictures, saved: SavedLog, who: str) -> None:
        self.labels, self.pictures, self.who = labels, pictures, who
        self.listing = Listing(labels)
        self._saved, self._lock = saved, Lock()
        self._standing: dict[str, Decision] = {}
        self._decided = np.zeros(len(labels), bool)
        self.refresh()

    @property
    def decided(self) -> np.ndarray:
        """Whether each label has a decision: bool [labels]."""
        return self._decided

    def refresh(self) -> None:
        """Look at the log anew: others may write to it, too."""
        with self._lock:
            standing = self._saved.log.standing()
            places = self.labels.sample_ids.get_indexer(pd.Index(list(standing), dtype=object))
            decided = np.zeros(len(self.labels), bool)
            decided[places[places >= 0]] = True
            self._standing, self._decided = standing, decided

    def decision(self, sample_id: str) -> Decision | None:
        """What was decided about a phrase."""
        return self._standing.get(sample_id)

    def decide(self, choice: Choice) -> Decision:
        """Write a decision; on the disk before this returns. The same one twice is one.

        Raises:
            KeyError: If there is no such label.
            Unfit: If the label has no box that the verdict speaks of, the box does not fit, or the label has changed.
        """
        row = self.labels.row_of(choice.sample_id)
        if row is None:
            raise KeyError(choice.sample_id)
        label = self.labels[row]
        if choice.label_box is not None and choice.label_box != label.box:
            raise Unfit(f"the label of {choice.sample_id} has changed since the page showed it. Load it again")
        decision = Decision(
            sample_id=label.sample_id,
            image_id=label.image_id,
            expression=label.expression,
            verdict=choice.verdict,
            box=self._box(choice, label),
            label_box=label.box,
            teacher=label.teacher,
            checkpoint_sha256=label.checkpoint_sha256,
            who=self.who,
            when=now(),
            source=SOURCE,
        )
        with self._lock:
            standing = self._saved.log.of(label.sample_id)
            if standing is not None and _says(standing) == _says(decision):
                return standing
            self._saved.log.append([decision])
            self._note(label.sample_id, decision)
        self._saved.changed()
        return decision

    def undo(self) -> Decision | None:
        """Take back this person's last decision, and say which; None if there is none."""
        with self._lock:
            undone = self._saved.log.undo(self.who, now())
            if undone is None:
                return None
            self._note(undone.sample_id, self._saved.log.of(undone.sample_id))
        self._saved.changed()
        return undone

    def _note(self, sample_id: str, decision: Decision | None) -> None:
        row = self.labels.row_of(sample_id)
        if row is not None:
            self._decided[row] = decision is not None
        if decision is None:
            self._standing.pop(sample_id, None)
        else:
            self._standing[sample_id] = decision

    def _box(self, choice: Choice, label: Label) -> Box | None:
        """The box that a verdict says is right."""
        if (choice.box is not None) != (choice.verdict == "box"):
            raise Unfit(
                f"a verdict {choice.verdict!r} with box {choice.box}. Allowed: a box with 'box', and only there"
            )
        if choice.verdict == "reject":
            return None
        if choice.box is not None:
            return self._drawn(choice.box, label)
        given = label.box if choice.verdict == "accept" else label.runner_up
        if given is None:
            what = "box" if choice.verdict == "accept" else "runner-up"
            raise Unfit(f"the label of {label.sample_id} has no {what}. Draw a box, or reject it")
        width, height = self.pictures.size(label.image)
        if min(given[2], width) <= max(given[0], 0) or min(given[3], height) <= max(given[1], 0):
            raise Unfit(f"nothing of the box {list(given)} lies inside the image. Draw a box, or reject it")
        return given

    def _drawn(self, box: Box, label: Label) -> Box:
        width, height = self.pictures.size(label.image)
        left, top = max(box[0], 0.0), max(box[1], 0.0)
        right, bottom = min(box[2], float(width)), min(box[3], float(height))
        outside = max(left - box[0], top - box[1], box[2] - right, box[3] - bottom)
        if outside > TOLERANCE or min(right - left, bottom - top) < 1 - TOLERANCE:
            raise Unfit(
                f"the box {list(box)}. Allowed: left, top, right, bottom inside the image of {width} x {height} "
                "pixels, at least one pixel wide and high"
            )
        return left, top, right, bottom


def now() -> str:
    """The time as decisions have it: UTC, with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _says(decision: Decision) -> tuple[object, ...]:
    return decision.verdict, decision.box, decision.label_box, decision.who, decision.checkpoint_sha256
