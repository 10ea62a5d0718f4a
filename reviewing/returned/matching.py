"""What a file says, found again among the labels that went out; what cannot be told is listed and decides nothing."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from deixis.exports.reading import part_inside
from reviewing.decisions import Box, Decision, Verdict
from reviewing.returned.place import by_place
from reviewing.returned.sent import SentImage, SentImages, SentLabel, plain_phrase
from reviewing.returned.types import Note, ReturnedFile, ReturnedImage, Shape, storable
from reviewing.same_box import same_box

STRANGE_NAME = "no image of the labels has this name"


@dataclass(frozen=True)
class Said:
    """Who hands a file back, and what counts where the file says nothing of it."""

    who: str | None
    when: str
    source: str
    only_changes: bool = False  # labels that stayed as they were are no decisions


@dataclass
class Matched:
    """What became of a file.

    Attributes:
        nameless: Labels that nobody stands for: the file does not say who.
        unchanged: Labels that stayed as they were, where those are no decisions.
        silent: Labels (sample_ids) that stayed as they were, in images that nobody has handed in by itself: nothing
            says that somebody looked.
        images: How many of its images are ours.
        placed, strange: Boxes without a name that are some label's, and those that are near none.
        alike, unlike: In images that are ours, phrases (sample_ids, where there are none) that are, too, and others.
    """

    decisions: list[Decision] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    nameless: int = 0
    unchanged: int = 0
    silent: set[str] = field(default_factory=set)
    images: int = 0
    placed: int = 0
    strange: int = 0
    alike: int = 0
    unlike: int = 0


def match(file: ReturnedFile, sent: SentImages, said: Said) -> Matched:
    """Find every label of a file again."""
    matched = Matched(notes=list(file.notes))
    parts: dict[int, list[ReturnedImage]] = defaultdict(list)
    for returned in file.images:
        image, problem = _image_of(returned, sent)
        if image is None:
            matched.notes.append(Note(returned.name, "", problem))
            continue
        _count_identities(returned, image, matched)
        strangers = _of_other_images(returned, image, sent)
        named = sum(bool(shape.sample_ids) for shape in returned.shapes)
        if 2 * len(strangers) > named:
            matched.notes.append(Note(returned.name, "", "its labels are another image's: not decided"))
            continue
        for shape in strangers:
            what = "it is a label of another image: not taken"
            matched.notes.append(Note(returned.name, ", ".join(shape.sample_ids), what))
        own = tuple(shape for shape in returned.shapes if shape not in strangers)
        parts[image.image_id].append(replace(returned, shapes=own))
    matched.images = len(parts)
    for image_id, returned in parts.items():
        _OneImage(sent.by_id[image_id], returned, matched, file, said).decide()
    return matched


def _image_of(returned: ReturnedImage, sent: SentImages) -> tuple[SentImage | None, str]:
    """The image by its name; renamed ones by labels that are the same in sample_id and phrase. Else None, and why."""
    if sent.is_bare(returned.name, has_ending=returned.has_ending):
        return None, STRANGE_NAME
    named = sent.named(returned.name, has_ending=returned.has_ending)
    if named is None:
        known = {
            image.image_id
            for shape in returned.shapes
            for sample_id, image in ((one, sent.sample_ids.get(one)) for one in shape.sample_ids)
            if image and _phrases_fit(shape, [label for label in image.labels if label.sample_id == sample_id])
        }
        if len(known) != 1:
            return None, STRANGE_NAME
        named = sent.by_id[known.pop()]
    if returned.size_wh not in (None, named.size_wh):
        return None, "it is {} x {} pixels there, and {} x {} among the labels".format(
            *returned.size_wh or (), *named.size_wh
        )
    return named, ""


def _of_other_images(returned: ReturnedImage, image: SentImage, sent: SentImages) -> list[Shape]:
    """Labels whose ids are all of another image."""
    ours = {label.sample_id for label in image.labels}
    return [
        shape
        for shape in returned.shapes
        if shape.sample_ids
        and not ours & set(shape.sample_ids)
        and all(one in sent.sample_ids for one in shape.sample_ids)
    ]


def _phrases_fit(shape: Shape, labels: Iterable[SentLabel]) -> bool:
    phrases = set(map(plain_phrase, shape.phrases))
    return any(plain_phrase(label.expression) in phrases for label in labels)


def _count_identities(returned: ReturnedImage, image: SentImage, matched: Matched) -> None:
    """Whether ids and phrases are those of our labels: files of another set may have the same names and ids."""
    ours = {label.sample_id: label for label in image.labels}
    phrases = {plain_phrase(label.expression) for label in ours.values()}
    for sample_id, phrase in (returned.sent or {}).items():
        fits = sample_id in ours and phrase in ("", ours[sample_id].expression)
        matched.alike, matched.unlike = matched.alike + fits, matched.unlike + (not fits)
    for shape in returned.shapes:
        if shape.phrases or shape.sample_ids:
            said = set(map(plain_phrase, shape.phrases))
            fits = bool(said & phrases) if said else bool(ours.keys() & set(shape.sample_ids))
            matched.alike, matched.unlike = matched.alike + fits, matched.unlike + (not fits)


class _OneImage:
    """One image while its labels are looked for."""

    def __init__(
        self, image: SentImage, parts: list[ReturnedImage], matched: Matched, file: ReturnedFile, said: Said
    ) -> None:
        self._image, self._parts, self._matched, self._file, self._said = image, parts, matched, file, said
        self._claims: dict[str, list[Shape]] = defaultdict(list)
        self._undecided: set[str] = set()
        named = [one.sent for one in parts if one.sent is not None]
        ids = {sample_id for sent in named for sample_id in sent}
        self._sent = [one for one in image.labels if (one.sample_id in ids if named else one.went_out)]

    def decide(self) -> None:
        """Add decisions and notes."""
        shapes = [_in_pixels(shape, part, self._image.size_wh) for part in self._parts for shape in part.shapes]
        loose = self._claim_by_identity(shapes)
        left_over = self._claim_by_place(loose)
        has_names = len(loose) < len(shapes)
        labels = {label.sample_id: label for label in self._image.labels}
        for sample_id, claims in self._claims.items():
            self._decide_claimed(labels[sample_id], claims)
        for label in self._sent:
            if label.sample_id not in self._claims and label.sample_id not in self._undecided:
                if left_over and not has_names:
                    self._note(label.sample_id, "its box is gone, but others of the image are whose label is unclear")
                else:
                    self._add(label, "reject", None, None)

    def _claim_by_identity(self, shapes: list[Shape]) -> list[Shape]:
        """Give shapes to the labels that they name; what names none, or several of one phrase, is handed back."""
        by_id = {label.sample_id: label for label in self._image.labels}
        by_phrase = self._by_phrase(self._image.labels)
        loose = []
        for shape in shapes:
            named = [by_id[one] for one in shape.sample_ids if one in by_id]
            if not named:
                alike = [by_phrase.get(plain_phrase(phrase), []) for phrase in shape.phrases]
                named = [labels[0] for labels in alike if len(labels) == 1]
            for label in named:
                self._claims[label.sample_id].append(shape)
            if not named:
                loose.append(shape)
        return loose

    def _claim_by_place(self, shapes: list[Shape]) -> bool:
        """Give shapes to labels that lie there, those of one phrase among each other; whether some are left over."""
        by_phrase = self._by_phrase(self._sent)
        groups: dict[str, list[Shape]] = defaultdict(list)
        for shape in shapes:
            known = [phrase for phrase in map(plain_phrase, shape.phrases) if phrase in by_phrase]
            groups[known[0] if known else ""].append(shape)
        left_over = False
        for phrase in sorted(groups, reverse=True):  # those without a phrase come last
            pool = [one for one in by_phrase.get(phrase, self._sent) if one.sample_id not in self._claims]
            bare = [shape for shape in groups[phrase] if shape.box is None]
            boxed = [(shape, shape.box) for shape in groups[phrase] if shape.box is not None]
            placed = by_place(pool, [box for _, box in boxed])
            for number, (shape, box) in enumerate(boxed):
                if number in placed.label_of:
                    self._claims[pool[placed.label_of[number]].sample_id].append(shape)
                    self._matched.placed += 1
                else:
                    left_over = True
                    sides = ", ".join(f"{side:.2f}" for side in box)
                    self._note(phrase, f"the box {sides} is no label's, or may be several labels': not taken")
            self._matched.strange += len(placed.strange)
            for number in placed.unclear:
                self._undecided.add(pool[number].sample_id)
                self._note(pool[number].sample_id, "which box is its own is unclear: not decided")
            left_over = left_over or bool(bare)
        return left_over

    def _decide_claimed(self, label: SentLabel, claims: list[Shape]) -> None:
        boxes = [(shape, shape.box) for shape in claims if shape.box is not None]
        refused = [shape for shape in claims if shape.refused]
        if refused:
            if label.accepted:  # others were refused before anybody looked at them
                self._add(label, "reject", None, refused[0])
        elif not boxes:
            self._note(label.sample_id, "it is there without its box: not decided")
        elif not all(same_box(box, boxes[0][1]) for _, box in boxes):
            self._note(label.sample_id, f"it is there {len(boxes)} times with different boxes: not decided")
        else:
            self._decide_box(label, *boxes[0])

    def _decide_box(self, label: SentLabel, shape: Shape, box: Box) -> None:
        width, height = self._image.size_wh
        inside = part_inside(box, width=width, height=height)
        if inside is None:
            self._note(label.sample_id, "nothing of its box lies inside the image: not decided")
            return
        stayed = self._stayed(label, shape, inside)
        if self._said.only_changes and stayed:
            self._matched.unchanged += 1
        elif same_box(inside, label.box):
            self._add(label, "accept", label.whole_box, shape, stayed=stayed)
        elif same_box(inside, label.runner_up):
            self._add(label, "runner_up", label.whole_runner_up, shape, stayed=stayed)
        else:
            self._add(label, "box", inside, shape, stayed=stayed)

    def _stayed(self, label: SentLabel, shape: Shape, box: Box) -> bool:
        """Whether a label is as it went out; one that stands for an object went out with the box of one phrase."""
        named = [one for one in self._image.labels if one.sample_id in shape.sample_ids]
        return any(same_box(box, one.box) for one in (label, *named))

    def _add(
        self, label: SentLabel, verdict: Verdict, box: Box | None, shape: Shape | None, *, stayed: bool = False
    ) -> None:
        part, now = self._parts[-1], datetime.now(UTC).isoformat(timespec="microseconds")
        who = (shape and shape.who) or part.who or self._file.who or self._said.who
        if not who:
            self._matched.nameless += 1
            return
        if stayed and not (part.submitted or (shape and shape.when)):
            self._matched.silent.add(label.sample_id)
        self._matched.decisions.append(
            Decision(
                sample_id=label.sample_id,
                image_id=label.image_id,
                expression=label.expression,
                verdict=verdict,
                box=box,
                label_box=label.whole_box,
                teacher=label.teacher,
                checkpoint_sha256=label.checkpoint_sha256,
                who=storable(who),
                when=min((shape and shape.when) or part.when or self._file.when or self._said.when, now),
                source=self._said.source,
            )
        )

    def _note(self, label: str, what: str) -> None:
        self._matched.notes.append(Note(self._image.name, label, what))

    @staticmethod
    def _by_phrase(labels: Iterable[SentLabel]) -> dict[str, list[SentLabel]]:
        found: dict[str, list[SentLabel]] = defaultdict(list)
        for label in labels:
            found[plain_phrase(label.expression)].append(label)
        return found


def _in_pixels(shape: Shape, image: ReturnedImage, size_wh: tuple[int, int]) -> Shape:
    if shape.box is None or not image.in_shares:
        return shape
    width, height = size_wh
    left, top, right, bottom = shape.box
    box = left * width, top * height, right * width, bottom * height
    return replace(shape, box=box)
