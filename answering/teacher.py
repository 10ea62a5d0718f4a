"""Answers of a teacher that weighs the detector's boxes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch
from pydantic import TypeAdapter

from answering.answers import Checkpoint, paths_of
from answering.live_matcher import encoder_arrays, live_matcher, survivors_of
from deixis.core.foreign import foreign_bytes
from deixis.core.progress import say
from deixis.core.records import read_json
from deixis.imaging.images import ImageReader
from deixis.labelling.label_table import BOX_COLUMNS, finish_labels
from deixis.labelling.labelled_parts import label_pairs
from deixis.labelling.location_knowledge import LocationKnowledge, read_location_knowledge
from deixis.labelling.rules import LabelParams
from deixis.labelling.segmenting import segment_table
from deixis.language.tokens import cut_texts
from models.frozen.detectors import load_detector
from models.loading.teachers import load_teacher


class TeacherAnswers:
    """A teacher that weighs the detector's boxes; location words count as they did when it labelled its own set."""

    is_teacher: ClassVar[bool] = True

    def __init__(self, folder: Path, weights: Path, device: torch.device) -> None:
        self._at = Checkpoint(folder, weights, device)
        self._teacher = load_teacher(folder, device)
        self._detector = load_detector(weights / "detector", device)
        self._arrays = encoder_arrays(
            self._teacher, self._detector, weights, device, survivors=survivors_of(self._at.card)
        )
        place = find_labelling(folder)
        self.inputs = () if place is None else (place / "labelling.json", place / "location_kinds.parquet")
        self._rules, self._known = LabelParams(), LocationKnowledge()
        if place is not None:
            self._rules, self._known = read_rules(place), read_location_knowledge(place)

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Those that are longer than its text encoder reads."""
        return cut_texts(texts, self._teacher.vocabulary, self._teacher.text_length)

    def rows(self, pairs: pd.DataFrame, images: pd.DataFrame, root: Path, *, with_masks: bool) -> pd.DataFrame:
        """Rows of labels.parquet; experts look only at the images that are routed to them."""
        reader = ImageReader(images, root=root, side=self._detector.input_size, framing=self._detector.framing)
        matcher = live_matcher(
            self._teacher,
            self._arrays,
            reader,
            images["image_id"],
            batch_size=self._rules.batch_size,
            device=self._at.device,
        )
        boxes = label_pairs(matcher, pairs, self._rules, self._known)
        boxes = boxes[[*BOX_COLUMNS, *(name for name in ("own_mask", "confidence") if name in boxes)]]
        if not with_masks or self._rules.masks == "none":
            return finish_labels(boxes, None, None, self._at.card)
        masks, quality = segment_table(self._at.segmenter, boxes, paths=paths_of(images, root))
        return finish_labels(boxes, masks, quality, self._at.card)


def find_labelling(folder: Path) -> Path | None:
    """Where it says how a teacher's own set was labelled: beside its checkpoint, or under data/labels."""
    whole = folder.resolve()
    places = [folder]
    if len(whole.parents) > 2:
        places.append(whole.parents[2] / "labels" / whole.parent.name / whole.name)
    for place in places:
        if (place / "labelling.json").exists():
            return place
    say(
        f"{folder}: no labelling.json beside it, nor under data/labels: what location words weigh is guessed for each "
        "phrase. Run: dvc repro write_pseudo_labels, or copy what it wrote into that folder"
    )
    return None


def read_rules(place: Path) -> LabelParams:
    """The rules of a labelling, without those that look at a whole set and not at a pair: coverage, same_image."""
    path, made_by = place / "labelling.json", "write_pseudo_labels"
    facts = read_json(path, made_by=made_by)
    with foreign_bytes(path, "what labelling writes", f"Run: dvc repro -f {made_by}"):
        stated = TypeAdapter(LabelParams).validate_python(facts["rules"])
    return replace(stated, coverage=1.0, same_image="free")
