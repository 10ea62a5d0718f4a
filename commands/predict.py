"""`deixis predict`: what a trained model says to phrases about one image."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from PIL import Image

from answering.photographs import default_model
from answering.predictor import Answer, Predictor
from answering.user_images import upright
from deixis.core.errors import ConfigError
from deixis.core.records import write_atomically
from deixis.core.runtime import Device
from deixis.imaging.draw import STUDENT, TEACHER, overlay, panel

DRAWN_SIDE = 640  # pixels of the long side of a drawn image, so that lines show on images of any size


def predict(
    image: Path,
    phrases: Annotated[tuple[str, ...], Parameter(negative_iterable="")],
    /,
    *,
    model: Path | None = None,
    weights: Path | None = None,
    drawing: Annotated[Path | None, Parameter(name="--overlay")] = None,
    mask: bool = True,
    device: Annotated[Device, Parameter(help="auto takes a GPU where there is one.")] = "auto",
) -> None:
    """Answer phrases about one image: box, mask and score of each, as JSON.

    Boxes are corners x, y, x, y in pixels of the image as it is looked at; masks are COCO run-length codes.

    Args:
        image: An image.
        phrases: One or more, each in quotes.
        model: Folder of a trained teacher or student; by default the model for photographs, where its published weights
            are in place and the image is not one of the drawn scenes, else the reference teacher of `dvc repro`.
        weights: Folder of the frozen models; by default those of the model's own data folder.
        drawing: Also draw the answers, to this PNG.
        mask: Whether to draw masks.
    """
    if drawing is not None and drawing.suffix.lower() != ".png":
        raise ConfigError(f"--overlay is {drawing}. Allowed: a file whose name ends in .png, such as answers.png.")
    if not phrases:
        raise ConfigError('no phrase was named. Allowed: one or more. Run: deixis predict IMAGE "the red ball"')
    model = model or default_model(image)
    predictor = Predictor(model, weights=weights, device=device)
    answers = predictor.predict(image, phrases, with_masks=mask)
    decoded = upright(image)
    facts = {"image": str(image), "width": decoded.width, "height": decoded.height, "model": str(model)}
    record = facts | {"answers": [as_json(answer) for answer in answers]}
    json.dump(record, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    print()
    if drawing is not None:
        drawn = draw(decoded, answers, colour=TEACHER if predictor.is_teacher else STUDENT)
        write_atomically(drawing, lambda temporary: drawn.save(temporary, "PNG"))


def as_json(answer: Answer) -> dict[str, Any]:
    """An answer as JSON takes it."""
    return {
        "phrase": answer.phrase,
        "box": None if answer.box is None else list(answer.box),
        "score": answer.score,
        "margin": answer.margin,
        "confidence": answer.confidence,
        "reason": answer.reason,
        "mask": answer.rle,
        "mask_quality": answer.mask_quality,
    }


def draw(image: Image.Image, answers: Sequence[Answer], *, colour: tuple[int, int, int]) -> Image.Image:
    """The image once per answer, side by side; numbered, since no font has the letters of all languages."""
    factor = DRAWN_SIDE / max(image.size)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    pixels = np.asarray(image.resize(size))
    columns = []
    for number, answer in enumerate(answers, start=1):
        boxes = [] if answer.box is None else [([side * factor for side in answer.box], colour)]
        mask = None if answer.mask is None else np.asarray(Image.fromarray(answer.mask).resize(size))
        sureness = f"{answer.score:.2f}" if answer.confidence is None else f"{answer.confidence:.0%}"
        caption = f"{number} ({sureness}): {answer.phrase}"
        columns.append((caption, overlay(pixels, boxes=boxes, mask=mask, scale=1)))
    return panel(columns, title="")
