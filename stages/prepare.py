"""Read one raw dataset, keep what is sound, and write our tables: the only reader of foreign formats.

reads   data/raw/<dataset>; params: datasets.<dataset>
writes  pairs.parquet, truth.parquet, images.parquet, quarantine.parquet; objects.parquet: every annotated box of every
        image, whether a phrase refers to it or not
run     dvc repro prepare@scenes
"""

from pathlib import Path

from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.errors import ConfigError
from deixis.core.registry import resolve
from deixis.datasets import DATASETS


def prepare(*, dataset: str, raw: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    """Let the dataset's adapter read the raw folder and write the tables."""
    adapter = resolve(DATASETS, _adapter_name(params, dataset), role="dataset adapter")
    config = read_section(params, f"datasets.{dataset}", adapter.Config)
    adapter(config).ingest(raw=raw, out=out, dataset=dataset)


def _adapter_name(params: Path, dataset: str) -> str:
    """Which adapter an entry names; all its other settings are the adapter's to read."""
    entry = read_section(params, f"datasets.{dataset}", dict)
    if not isinstance(entry.get("adapter"), str):
        raise ConfigError(
            f"{params}: datasets.{dataset} names no adapter. Known: {', '.join(sorted(DATASETS))}. "
            f"Add one, then run: dvc repro prepare@{dataset}"
        )
    return entry["adapter"]


if __name__ == "__main__":
    run_stage(prepare)
