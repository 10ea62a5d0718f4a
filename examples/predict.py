"""Ask a trained model about an image, from Python.

run     uv run python examples/predict.py photo.jpg "the cat on the left" "the sofa"
"""

import sys
from pathlib import Path

import deixis
from deixis.core.errors import ConfigError, DataError

MODEL = "data/teachers/scenes_plus/dvin"  # what `dvc repro` trains; any folder of data/teachers or data/students


def main(image: str, *phrases: str, model: str = MODEL) -> None:
    """Print box, score and size of the mask of each phrase."""
    predictor = deixis.load(model)  # once; then as many images as there are
    for answer in predictor.predict(image, phrases):
        covered = 0.0 if answer.mask is None else answer.mask.mean()
        print(f"{answer.phrase}: box {answer.box}, score {answer.score:.2f}, mask on {covered:.1%} of the image")

    labels = Path(model.replace("teachers", "labels")) / "labels.parquet"
    if labels.exists():  # what the teacher said about the images that it learned from
        sure = [label for label in deixis.iterate_labels(labels) if label.margin > 1]
        print(f"{len(sure)} of its own labels have a margin above 1")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (ConfigError, DataError) as error:  # the message says what to run first
        sys.exit(f"error: {error}")
