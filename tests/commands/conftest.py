"""One small world for all tests of the commands, which only read it."""

import os
from pathlib import Path

import pytest

from tests.commands.small_world import build_world


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Root of a folder with data/, as small_world writes it."""
    root, before = tmp_path_factory.mktemp("world"), Path.cwd()
    os.chdir(root)
    try:
        build_world(root)
    finally:
        os.chdir(before)
    return root
