"""Which datasets, methods and references a plain `dvc repro` builds, and what its predictors are called."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError

Reads = Mapping[str, Collection[str]]  # method -> lists of `run` whose outputs it reads


@dataclass(frozen=True, config=STRICT)
class RunParams:
    """The `run` section: what a plain `dvc repro` builds."""

    scenes: tuple[str, ...]
    worlds: tuple[str, ...]
    datasets: tuple[str, ...]
    teachers: tuple[str, ...]
    map_teachers: tuple[str, ...]
    student_teachers: tuple[str, ...]
    students: tuple[str, ...]
    box_masks: tuple[str, ...]
    crops: tuple[str, ...]
    proposals: tuple[str, ...]
    mask_heads: tuple[str, ...]
    redrawn: tuple[str, ...]
    rated: tuple[str, ...]
    corrected: tuple[str, ...]
    relabelled: tuple[str, ...]
    annotation_students: tuple[str, ...]
    upper_bounds: tuple[str, ...]
    references: tuple[str, ...]
    reference_datasets: tuple[str, ...]
    photo_masks: tuple[str, ...]
    exclusions: tuple[str, ...]
    experts: tuple[str, ...]
    encoders: tuple[str, ...]

    def predictors(self, dataset: str) -> list[str]:
        """Predictor ids, teachers first."""
        teachers = [*self.teachers, *self.map_teachers, *self.relabelled]
        students = [f"{teacher}-{student}" for teacher in self.student_teachers for student in self.students]
        return [*teachers, *students, *(self.references if dataset in self.reference_datasets else ())]

    def timed(self, dataset: str) -> list[str]:
        """Predictors whose speed is measured: not the teachers of response maps, and none twice."""
        untimed = {*self.map_teachers, *self.relabelled}
        return [name for name in self.predictors(dataset) if name not in untimed]

    def trained_references(self) -> list[str]:
        """Predictors beside the run that its lists train, on the reference datasets."""
        given = [f"{t}-{student}-on_annotations" for t in self.student_teachers for student in self.annotation_students]
        return [*given, *(f"truth-{student}" for student in self.upper_bounds)]

    def written_again(self) -> list[str]:
        """Teachers once more: with the detector's masks, a confidence in each label, or people's decisions."""
        kinds = {"res": self.redrawn, "rated": self.rated, "corrected": self.corrected}
        return [f"{teacher}-{kind}" for kind, teachers in kinds.items() for teacher in teachers]


def refuse_misfits(run: RunParams, *, methods: Mapping[str, Collection[str]], reads: Reads) -> None:
    """Stop before anything is trained where lists of `run` do not fit together.

    Args:
        methods: Known names by list of `run`, such as teachers.
        reads: What some teachers read beside features, by name.

    Raises:
        ConfigError: Names every misfit and the list that fixes it.
    """
    problems = [*_unknown(run, methods), *_missing_inputs(run, reads), *_misnamed(run)]
    if problems:
        raise ConfigError(f"params.yaml: {'; '.join(problems)}. Then run: dvc repro")


def refuse_undecided(run: RunParams, folder: Path) -> None:
    """Stop before anything is trained where labels are to be corrected and nobody has decided anything.

    Args:
        folder: Of decisions, by dataset. DVC may know a table that is not fetched yet.

    Raises:
        ConfigError: Names the first dataset without a table, and the commands that write one.
    """
    for dataset in run.datasets if run.corrected else ():
        table = folder / dataset / "decisions.parquet"
        if not (table.exists() or table.with_name(f"{table.name}.dvc").exists()):
            labels = f"data/labels/{dataset}/{run.corrected[0]}/labels.parquet"
            raise ConfigError(
                f"{table}: missing, and run.corrected is {_as_list(run.corrected)}. Decide about labels with: deixis "
                f"serve {labels}, or: deixis take-decisions FILE --from FORMAT --labels {labels}; or empty "
                "run.corrected in params.yaml. Then run: dvc repro"
            )


def _unknown(run: RunParams, methods: Mapping[str, Collection[str]]) -> Iterator[str]:
    known = dict(methods) | {
        "redrawn": run.teachers,
        "rated": run.teachers,
        "corrected": run.teachers,
        "student_teachers": (*run.teachers, *run.map_teachers, *run.written_again()),
        "box_masks": run.datasets,
        "crops": run.datasets,
        "proposals": run.datasets,
        "photo_masks": run.datasets,
        "reference_datasets": run.datasets,
    }
    for name, allowed in known.items():
        for value in getattr(run, name):
            if value not in allowed:
                yield f"run.{name} names {value}. Allowed: {', '.join(allowed) or 'nothing as things are'}. Change it"


def _missing_inputs(run: RunParams, reads: Reads) -> Iterator[str]:
    for teacher in (*run.teachers, *run.map_teachers):
        for name in reads.get(teacher, ()):
            lacking = [dataset for dataset in run.datasets if dataset not in getattr(run, name)]
            if lacking:
                whole = _as_list(run.datasets)
                yield f"{teacher} reads run.{name}, which lacks {', '.join(lacking)}. Write {name}: {whole}"


def _misnamed(run: RunParams) -> Iterator[str]:
    for name, built in (("relabelled", run.written_again()), ("references", run.trained_references())):
        if set(getattr(run, name)) != set(built):
            listed = _as_list(getattr(run, name))
            yield f"run.{name} is {listed}, and the other lists build other ones. Write {name}: {_as_list(built)}"


def _as_list(names: Collection[str]) -> str:
    return f"[{', '.join(names)}]"
