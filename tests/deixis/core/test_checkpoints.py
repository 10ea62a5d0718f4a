"""Names of scratch folders: another run has another name, the same run on another machine the same."""

import pytest
import torch

from deixis.core.checkpoints import run_key


@pytest.fixture
def two_threads():
    yield lambda: torch.set_num_threads(2)
    torch.set_num_threads(1)


def test_another_number_of_threads_is_another_training_and_no_other_extraction(two_threads):
    entries = ["deixis.core.checkpoints"]
    before = [run_key("settings", entries=entries, threads=threads) for threads in (True, False)]
    two_threads()
    after = [run_key("settings", entries=entries, threads=threads) for threads in (True, False)]
    assert after[0] != before[0] and after[1] == before[1]


def test_settings_files_and_code_count(tmp_path):
    file, here, there = tmp_path / "file", ["deixis.core.checkpoints"], ["deixis.core.cli"]
    file.write_text("a")
    keys = [run_key(1, file, entries=here), run_key(2, file, entries=here), run_key(1, file, entries=there)]
    file.write_text("b")
    assert len({*keys, run_key(1, file, entries=here)}) == 4
