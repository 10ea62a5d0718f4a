"""Which datasets, methods and references a plain `dvc repro` builds, and what its predictors are called."""

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT


@dataclass(frozen=True, config=STRICT)
class RunParams:
    """The `run` section: what a plain `dvc repro` builds."""

    scenes: tuple[str, ...]
    worlds: tuple[str, ...]
    datasets: tuple[str, ...]
    teachers: tuple[str, ...]
    students: tuple[str, ...]
    student_teachers: tuple[str, ...]
    reference_teacher: str
    annotation_students: tuple[str, ...]
    upper_bounds: tuple[str, ...]
    mask_datasets: tuple[str, ...]
    map_teachers: tuple[str, ...]
    proposal_datasets: tuple[str, ...]
    proposal_teachers: tuple[str, ...]
    mask_heads: tuple[str, ...]
    detector_mask_datasets: tuple[str, ...]
    detector_mask_teachers: tuple[str, ...]
    exclusions: tuple[str, ...]
    rated_datasets: tuple[str, ...]
    rated_teachers: tuple[str, ...]
    reference_datasets: tuple[str, ...]
    experts: tuple[str, ...]
    encoders: tuple[str, ...]

    def predictors(self, dataset: str) -> list[str]:
        """Predictor ids, teachers first."""
        weighing = self.proposal_teachers if dataset in self.proposal_datasets else ()
        teachers = [*self.teachers, *self.map_teachers, *weighing, *self.relabelled(dataset)]
        students = [f"{teacher}-{student}" for teacher in self.student_teachers for student in self.students]
        if dataset not in self.reference_datasets:
            return [*teachers, *students]
        given = [f"{t}-{student}-on_annotations" for t in self.student_teachers for student in self.annotation_students]
        return [*teachers, *students, *given, *(f"truth-{student}" for student in self.upper_bounds)]

    def relabelled(self, dataset: str) -> list[str]:
        """Teachers once more, with other masks of their boxes or with rated labels; nothing is trained for them."""
        return [*self.redrawn(dataset), *self.rated(dataset)]

    def redrawn(self, dataset: str) -> list[str]:
        """Teachers once more, with the detector's masks of their boxes."""
        names = self.detector_mask_teachers if dataset in self.detector_mask_datasets else ()
        return [f"{teacher}-res" for teacher in names]

    def rated(self, dataset: str) -> list[str]:
        """Teachers once more, with a confidence in each label."""
        names = self.rated_teachers if dataset in self.rated_datasets else ()
        return [f"{teacher}-rated" for teacher in names]

    def timed(self, dataset: str) -> list[str]:
        """Predictors whose speed is measured: not the teachers of response maps, and none twice."""
        untimed = {*self.map_teachers, *self.proposal_teachers, *self.relabelled(dataset)}
        return [name for name in self.predictors(dataset) if name not in untimed]
