"""One training of a variant per seed: the files that all runs share, and what each seed makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from cyclopts import Parameter

from claims.entries import Plan, Variant, answers_file, model_folder, params_of
from claims.inputs import write_pairs, write_params
from deixis.core.config import read_section
from training.files import TrainingFiles


@dataclass(frozen=True)
class RunFiles:
    """What every run reads, whatever the kind of its variant, and the folder that it writes."""

    pairs: Path  # pairs.parquet
    images: Path  # images.parquet
    image_root: Path  # folder that its paths start from
    out: Path  # folder of the variant
    claims: Path = Path("claims/claims.yaml")
    plan: Path = Path("claims/params.yaml")
    params: Path = Path("params.yaml")


RunOptions = Annotated[RunFiles, Parameter(name="*")]  # each file an option of its own


@dataclass(frozen=True)
class SeedRun:
    """One seed of a variant, with a temporary folder for what the stages are given.

    Attributes:
        overrides: Of params.yaml, the variant's own.
    """

    seed: int
    folder: Path
    files: RunFiles
    plan: Plan
    overrides: dict[str, Any]

    @property
    def model(self) -> Path:
        """Folder of the trained model."""
        return self.files.out / model_folder(self.seed)

    def answers(self, reading: str = "") -> Path:
        """Where the answers go, read in the ordinary way or another."""
        return self.files.out / answers_file(self.seed, reading)

    def pairs(self, *splits: str) -> Path:
        """The pairs of some splits alone."""
        return write_pairs(self.files.pairs, self.folder, splits=splits)

    def params(self, reading: str = "", changes: dict[str, Any] | None = None) -> Path:
        """Settings of the variant under this seed, with further changes for one reading."""
        settings = params_of(self.files.params, self.plan, self.overrides, changes or {}, seed=self.seed)
        return write_params(settings, self.folder / (f"params-{reading}.yaml" if reading else "params.yaml"))

    @property
    def curves(self) -> Path:
        """Curves of the training, which nobody reads."""
        return self.folder / "curves.csv"

    def training(self, weights: Path) -> TrainingFiles:
        """Files of a training on images."""
        images, root = self.files.images, self.files.image_root
        return TrainingFiles(images, root, weights, self.model, self.curves, self.params())


def each_seed(files: RunFiles, variant: Variant) -> Iterator[SeedRun]:
    """A run per seed of the plan; its folder goes when the next one comes."""
    plan = read_section(files.plan, "measure", Plan)
    files.out.mkdir(parents=True, exist_ok=True)  # a method that this run leaves out has an empty one
    for seed in plan.seeds_of(variant.method):
        with TemporaryDirectory() as name:
            yield SeedRun(seed, Path(name), files, plan, variant.overrides)
