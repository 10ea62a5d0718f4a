"""What the papers claim, measured on the embedded scenes: a second pipeline, read by `dvc repro claims/dvc.yaml`."""

import deixis.core.threads  # noqa: F401  # before a run imports torch
