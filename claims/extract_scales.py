"""What the detector says about the dataset's images, with the boxes of all its scales; the main run stores the coarse.

reads   images.parquet, the images, the detector; params: claims/params.yaml, params.yaml
writes  a feature store that teachers of any `scales` can learn from
run     dvc repro claims/dvc.yaml:extract_scales
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from claims.entries import Plan, params_of
from claims.inputs import write_params
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.runtime import Device
from stages.extract_features import extract_features


def extract_scales(
    *,
    images: Path,
    image_root: Path,
    weights: Path,
    out: Path,
    plan: Path = Path("claims/params.yaml"),
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Encode every image of the dataset with the detector, as the claims' plan says."""
    shared = read_section(plan, "measure", Plan)
    with TemporaryDirectory() as name:
        settings = params_of(params, shared, seed=0)  # nothing here depends on the seed
        extract_features(
            encoder="detector",
            images=images,
            image_root=image_root,
            weights=weights,
            out=out,
            params=write_params(settings, Path(name) / "params.yaml"),
            device=device,
        )


if __name__ == "__main__":
    run_stage(extract_scales)
