"""The folder of photographs that some tests read, where there is one."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data" / "photos"


def photographs() -> Path:
    """The folder that DEIXIS_PHOTOS names, or the one beside the checkout; the test is skipped where neither exists."""
    named = os.environ.get("DEIXIS_PHOTOS")
    folder = Path(named) if named else BESIDE
    if not folder.is_dir():
        pytest.skip(
            f"no photographs at {folder}. Name a folder with images/, instances.json, phrases.jsonl and "
            "yolox_nano.onnx in DEIXIS_PHOTOS"
        )
    return folder
