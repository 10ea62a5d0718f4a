"""How much each predictor's numbers vary between trainings that differ by seed alone, where that was measured."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from commands.comparing.revisions import Revision
from deixis.core.errors import ConfigError
from deixis.core.records import read_json
from deixis.measuring.paired import Trainings

COMMITTED = "reports/seeds.json"
FORM = '{"scenes_plus": {"dvin": {"acc50": [0.812, 0.797, 0.809]}}}'

Seeds = dict[tuple[str, str, str], Trainings]  # by dataset, predictor and metric


def read_seeds(file: Path | None, head: Revision) -> Seeds:
    """From the named file, or from what the head has committed; empty where there is neither.

    Raises:
        ConfigError: If it is not of the form: scores as fractions, one for each of two or more trainings.
    """
    content = head.json(COMMITTED) if file is None else read_json(file, made_by="hand")
    return {} if content is None else _checked(content, str(file or COMMITTED))


def _checked(content: Any, where: str) -> Seeds:
    try:
        listed = TypeAdapter(dict[str, dict[str, dict[str, list[float]]]]).validate_python(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: {error.errors()[0]['msg']}. Allowed: {FORM}. See docs/reviewing.md") from None
    seeds: Seeds = {}
    for dataset, predictors in listed.items():
        for predictor, metrics in predictors.items():
            for metric, scores in metrics.items():
                if len(scores) < 2 or not all(0 <= score <= 1 for score in scores):
                    raise ConfigError(
                        f"{where}: {metric} of {dataset}/{predictor} is {scores}. Allowed: fractions, of two trainings "
                        f"or more, as {FORM}. See docs/reviewing.md"
                    )
                seeds[dataset, predictor, metric] = Trainings.of(scores)
    return seeds
