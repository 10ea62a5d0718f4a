"""Answers of a teacher of response maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch

from answering.answers import Checkpoint, paths_of
from answering.response_maps import MapLabelParams, finish_map_labels, read_maps
from deixis.batches.map_data import MapReader
from deixis.cues.reading import pad_cues
from deixis.cues.rule import rule_cues
from deixis.labelling.segmenting import segment_points
from deixis.language.tokens import cut_texts
from models.loading.map_teachers import load_map_teacher


class MapTeacherAnswers:
    """A teacher of response maps; its masks are the segmenter's at the peak, and its cues those of the rule."""

    is_teacher: ClassVar[bool] = True
    inputs: tuple[Path, ...] = ()

    def __init__(self, folder: Path, weights: Path, device: torch.device) -> None:
        self._at = Checkpoint(folder, weights, device)
        self._teacher = load_map_teacher(folder, device)

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Those that are longer than its text encoder reads."""
        return cut_texts(texts, self._teacher.reading.vocabulary, self._teacher.reading.length)

    def rows(self, pairs: pd.DataFrame, images: pd.DataFrame, root: Path, *, with_masks: bool) -> pd.DataFrame:
        """Rows of labels.parquet. The box is that of the mask, so there is always one."""
        model, rules = self._teacher, MapLabelParams()
        cues, reading = None, model.cue_reading
        if reading:
            cues = {t: pad_cues(rule_cues(t), reading.count, reading.padding, text=t) for t in pairs["text"]}
        table = pairs.reset_index(drop=True)
        reader = MapReader(
            table.assign(group=range(len(table))),
            images,
            image_root=root,
            reading=model.reading,
            device=self._at.device,
            cues=cues,
        )
        paths = paths_of(images, root)
        labelled = read_maps(model, reader, table, paths=paths, rules=rules)
        labelled["prompted_mask"], labelled["mask_quality"] = segment_points(self._at.segmenter, labelled, paths=paths)
        return finish_map_labels(labelled, rules, self._at.card)
