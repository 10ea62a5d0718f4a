"""One Prefect server for all tests of flows: it takes seconds to start."""

from collections.abc import Iterator

import pytest

from benchmarks.local_prefect import local_prefect


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment in which programs reach it."""
    with local_prefect(tmp_path_factory.mktemp("prefect")) as environment:
        yield environment
