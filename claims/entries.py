"""`claims.yaml` as checked dataclasses: variants of methods, and the claims that compare two of them."""

from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT, load_params
from deixis.core.errors import ConfigError

KINDS = ("teachers", "map_teachers", "students")


@dataclass(frozen=True, config=STRICT)
class Plan:
    """`measure` of `claims/params.yaml`: what all variants share."""

    splits: tuple[str, ...]  # whose phrases are answered, and pooled
    run: str  # which of `seeds` holds
    seeds: dict[str, dict[str, int]]  # trainings of each variant, by its method, in a run of this name; 0: left out
    overrides: dict[str, Any]  # of params.yaml, by dotted key, for every variant: shorter recipes

    def __post_init__(self) -> None:
        if self.run not in self.seeds:
            raise ConfigError(
                f"claims/params.yaml: measure.run is {self.run}. Allowed: {', '.join(sorted(self.seeds))}. "
                "Fix it, then run: dvc repro claims/dvc.yaml"
            )

    def seeds_of(self, method: str) -> range:
        """Seeds of training; the world and its frozen models are those of the main run.

        Raises:
            ConfigError: If the plan says nothing of the method.
        """
        counts = self.seeds[self.run]
        if counts.get(method, -1) < 0:
            raise ConfigError(
                f"claims/params.yaml: measure.seeds.{self.run}.{method} is {counts.get(method, 'missing')}. Allowed: a "
                "number of trainings per variant; 0 leaves the method out. Fix it, then run: dvc repro claims/dvc.yaml"
            )
        return range(counts[method])


@dataclass(frozen=True, config=STRICT)
class MapJudge:
    """`map_judge` of `claims/params.yaml`: what judges response maps; the rest of its recipe is the expert's."""

    epochs: int
    alone_share: float  # of the images it sees, those of which a soft mask leaves one object or two


@dataclass(frozen=True, config=STRICT)
class Judging:
    """`judging` of `claims/params.yaml`: fixed before the run, and read by no training."""

    tie: float  # a difference that is certainly smaller, either way, counts as none
    timed_phrases: int  # per training, for claims about speed; evenly spread over val
    nulls: int  # simulated draws without a difference, per claim


@dataclass(frozen=True, config=STRICT)
class Teacher:
    """A teacher of boxes; trained once per seed."""

    method: str
    overrides: dict[str, Any] = field(default_factory=dict)  # of params.yaml, by dotted key
    teaches: bool = False  # whether a student learns from its labels; the others answer alone


@dataclass(frozen=True, config=STRICT)
class MapTeacher:
    """A teacher of response maps; trained once per seed, and read in one way or several."""

    method: str
    overrides: dict[str, Any] = field(default_factory=dict)
    readings: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> overrides of `map_labels`


@dataclass(frozen=True, config=STRICT)
class Student:
    """A student on the labels of one of the `teachers`, of the same seed."""

    method: str
    teacher: str
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class Claim:
    """One row of an ablation: how the variant compares with the baseline, as the paper says.

    A side is the name of a variant, or `variant/reading`.
    """

    id: str
    paper: str
    table: str
    numbers: str  # the paper's, baseline first
    statement: str
    metric: str = ""
    baseline: str = ""
    variant: str = ""
    baseline_metric: str = ""  # where the two sides answer in different ways
    direction: Literal["higher", "same", "not_lower"] = "higher"
    margin: float = 0.0  # what counts as the same, and as no harm; in units of the metric
    note: str = ""  # what is different here
    missing: str = ""  # what the code would need, for claims that are not measured

    def __post_init__(self) -> None:
        if bool(self.missing) == bool(self.metric and self.baseline and self.variant):
            raise ConfigError(
                f"claims/claims.yaml: {self.id} must have either metric, baseline and variant, or missing. "
                "Fix it, then run: dvc repro claims/dvc.yaml"
            )
        if (self.direction == "higher") != (self.margin == 0):
            raise ConfigError(
                f"claims/claims.yaml: {self.id} has direction {self.direction} and margin {self.margin}; a margin "
                "belongs to same and not_lower, and to them alone. Fix it, then run: dvc repro claims/dvc.yaml"
            )


Variant = Teacher | MapTeacher | Student


def model_folder(seed: int) -> str:
    """Name of one trained model, in its variant's folder."""
    return f"model-{seed}"


def answers_file(seed: int, reading: str = "") -> str:
    """Name of the answers of one training, read in the ordinary way or another, in its variant's folder."""
    return f"answers-{score_file(seed, reading)}"


def score_file(seed: int, reading: str = "") -> str:
    """Name of the scores of the same answers, in its variant's folder of scores."""
    return f"{seed}-{reading}.parquet" if reading else f"{seed}.parquet"


def read_variants(claims: Path) -> dict[str, Variant]:
    """All variants, whatever their kind."""
    kinds = (dict[str, Teacher], dict[str, MapTeacher], dict[str, Student])
    sections = [_read(claims, section, kind) for section, kind in zip(KINDS, kinds, strict=True)]
    return {name: variant for section in sections for name, variant in section.items()}


def read_claims(claims: Path) -> list[Claim]:
    """All claims, in the order of the file."""
    return _read(claims, "claims", list[Claim])


def _read(claims: Path, section: str, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(load_params(claims).get(section))
    except ValidationError as error:
        raise ConfigError(f"{claims}: {section}: {error}. Fix it, then run: dvc repro claims/dvc.yaml") from None


def override(params: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A copy of `params` with other values at dotted keys.

    The section of a key must exist; the key itself may be a default that `params.yaml` does not spell out.

    Raises:
        ConfigError: If a section does not exist.
    """
    changed = dict(params)
    for key, value in overrides.items():
        *sections, name = key.split(".")
        part = changed
        for section in sections:
            if not isinstance(part.get(section), dict):
                known = ", ".join(sorted(map(str, part)))
                raise ConfigError(
                    f'claims: "{key}" overrides nothing: params.yaml has no section "{section}" there. Known: {known}. '
                    "Fix claims/claims.yaml or claims/params.yaml, then run: dvc repro claims/dvc.yaml"
                )
            part[section] = part = dict(part[section])
        part[name] = value
    return changed


def params_of(params: Path, plan: Plan, *overrides: dict[str, Any], seed: int) -> dict[str, Any]:
    """The parameters of one run: `params.yaml`, then what all variants share, then the variant's own, and the seed."""
    settings = load_params(params) | {"seed": seed, "training_seed": seed}
    for changes in (plan.overrides, *overrides):
        settings = override(settings, changes)
    return settings
