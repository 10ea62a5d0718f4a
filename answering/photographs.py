"""The model for photographs: made ready once, as soon as the published weights that it needs are in place."""

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from answering.cards import DEFAULT_MODEL
from answering.domains import KnownDomain
from answering.photograph_weights import CARDS, segmenter_in_place, weights_in_place
from answering.teacher import read_rules
from answering.user_images import stored_image
from deixis.anchors import Survivors
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.progress import say
from deixis.core.records import read_json, write_json
from deixis.imaging.decoding import open_image
from deixis.labelling.location_knowledge import write_kinds
from deixis.labelling.rules import LabelParams
from deixis.roles import ZeroShotTeacher
from models.frozen.importing import import_published
from models.loading.teachers import build_teacher, teacher_config, teacher_vocabulary
from models.loading.untrained import save_untrained

SCALE = Path(__file__).resolve().parents[1] / "scales" / "photographs.yaml"  # its settings are this model's
TEACHER = "zero_shot"
MODEL = Path("data/teachers/photographs") / TEACHER
WEIGHTS = Path("data/weights/photographs")
SEGMENTER = "segmenter"


def default_model(image: Path | None = None) -> Path:
    """Which model answers where none was named: that for photographs, if its weights are in place.

    An image that the reference teacher of `dvc repro` knows, one of the drawn scenes, is left to that one.

    Raises:
        DataError: If there is neither.
    """
    is_trained = (DEFAULT_MODEL / "config.json").exists()
    if is_trained and image is not None and _is_drawn(image):
        return DEFAULT_MODEL
    if model := photograph_model():
        return model
    if not is_trained:
        raise DataError(
            f"no model answers here yet. For photographs, run: deixis weights fetch {' '.join(CARDS.values())} "
            f"(without a network, deixis weights where {CARDS['detector']} names file and place). For drawn scenes, "
            "run: dvc repro"
        )
    return DEFAULT_MODEL


def _is_drawn(image: Path) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        path = stored_image(image, Path(scratch))
        width, height = open_image(path).size
        listed = pd.DataFrame([(0, path.name, width, height)], columns=["image_id", "path", "width", "height"])
        domain = KnownDomain(DEFAULT_MODEL.parents[2] / "weights" / "embedded", torch.device("cpu"))
        return bool(domain.name) and not domain.foreign(listed, path.parent)


def photograph_model() -> Path | None:
    """Folder of the teacher without training; None where its published weights are not in place.

    It is made where it is not there yet, or was made with other settings. It draws masks where there is a segmenter:
    one that was trained on photographs here, or a published one.
    """
    if _is_ready():
        return MODEL
    if not weights_in_place():
        return None
    say(f"{MODEL}: making the model for photographs ready, once")
    for name, card in CARDS.items():
        import_published(card, WEIGHTS / name)
    if not _has_segmenter() and (card := segmenter_in_place()):
        import_published(card, WEIGHTS / SEGMENTER)
    write_zero_shot(MODEL, WEIGHTS, SCALE, survivors=read_section(SCALE, "extraction.survivors", Survivors))
    return MODEL


def write_zero_shot(out: Path, weights: Path, params: Path, *, survivors: Survivors) -> None:
    """The checkpoint of the teacher without training, from frozen weights alone."""
    config = teacher_config(TEACHER, params)
    model = build_teacher(TEACHER, config, teacher_vocabulary(config, weights, ()))
    assert isinstance(model, ZeroShotTeacher)
    card = {"teacher": TEACHER, "model": asdict(config), "vocabulary": model.vocabulary, "weights": weights.name}
    card |= {"survivors": asdict(survivors)}
    rules = {"rules": asdict(_rules(params, weights)), "location_words": {}}
    write_json(rules, out / "labelling.json")  # as labelling a set would have; the phrases of a set teach it nothing
    write_kinds(None, out / "location_kinds.parquet")
    save_untrained(model, out, weights=weights, device=torch.device("cpu"), card=card)


def _rules(params: Path, weights: Path) -> LabelParams:
    """Of labelling; without masks where nothing draws them."""
    rules = read_section(params, "labels", LabelParams)
    return rules if _has_segmenter(weights) else replace(rules, masks="none")


def _has_segmenter(weights: Path = WEIGHTS) -> bool:
    return (weights / SEGMENTER / "config.json").exists()


def _is_ready() -> bool:
    path = MODEL / "config.json"
    frozen = all((WEIGHTS / name / "config.json").exists() for name in CARDS)
    written = path.exists() and (MODEL / "labelling.json").exists()
    if not (written and frozen) or (not _has_segmenter() and segmenter_in_place()):
        return False
    if read_rules(MODEL).masks != _rules(SCALE, WEIGHTS).masks:
        return False
    stated = read_json(path, made_by="deixis predict")
    settings = json.loads(json.dumps(asdict(teacher_config(TEACHER, SCALE))))  # as they come back from a card
    return isinstance(stated, dict) and stated.get("model") == settings
