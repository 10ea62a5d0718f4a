"""One thread per process in unit tests: their tensors are tiny, and oneDNN of torch 2.15 crashes on some of them.

The backward pass of a channels-last convolution with a handful of channels ends in a segmentation fault with two
threads and passes with one, or without oneDNN. The toy run starts processes of its own, with all threads.
"""

import os
from pathlib import Path

import pytest
import torch

from tests.small_world import build_world

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Root of a folder with data/, as small_world writes it, for tests that only read it."""
    root, before = tmp_path_factory.mktemp("world"), Path.cwd()
    os.chdir(root)
    try:
        build_world(root)
    finally:
        os.chdir(before)
    return root
