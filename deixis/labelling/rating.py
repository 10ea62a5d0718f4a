"""Settings of the ratings."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT


@dataclass(frozen=True, config=STRICT)
class RatingParams:
    """The `ratings` section."""

    zoom: Annotated[float, Field(gt=0, lt=1)] = 0.8  # size, beside the usual one, of images labelled again
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.8  # of the training labels, those of highest confidence
