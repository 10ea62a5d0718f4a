"""What the papers claim, measured on the embedded scenes: a second pipeline, read by `dvc repro claims/dvc.yaml`."""
