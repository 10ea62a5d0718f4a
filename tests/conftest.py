"""One thread per process in unit tests: their tensors are tiny, and oneDNN of torch 2.15 crashes on some of them.

The backward pass of a channels-last convolution with a handful of channels ends in a segmentation fault with two
threads and passes with one, or without oneDNN. The toy run starts processes of its own.

Torch and our models are imported where they are used: this file is read by pytest-xdist's first process, too, which
runs no test.
"""

import gc
import os
from pathlib import Path

import pytest

gc.disable()  # importing makes no garbage, and looking for some takes half a second per process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first, so that no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name != "test_toy_run.py", item.path not in slow))


def pytest_runtestloop() -> None:
    """All is imported."""
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """For every test."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Root of a folder with data/, as small_world writes it, for tests that only read it."""
    from tests.small_world import build_world

    root, before = tmp_path_factory.mktemp("world"), Path.cwd()
    os.chdir(root)
    try:
        build_world(root)
    finally:
        os.chdir(before)
    return root
