"""Images in their squares: the same, and the same first complaint, however many threads decode them."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from deixis.core.errors import DataError
from deixis.imaging.images import ImageReader


def reader(folder, *, decoders):
    rng = np.random.default_rng(0)
    rows = [(7 - number, f"{number}.png", 5 + number, 9) for number in range(6)]
    for _, path, width, height in rows:
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / path)
    table = pd.DataFrame(rows, columns=["image_id", "path", "width", "height"])
    return ImageReader(table, root=folder, side=16, cache_bytes=0, decoders=decoders)


def test_a_pool_of_decoders_gives_what_one_gives(tmp_path):
    ids = [5, 2, 7, 3, 5]
    one, pool = (reader(tmp_path, decoders=count).squares(ids) for count in (1, 3))
    assert one.shape == (5, 3, 16, 16) and torch.equal(one, pool)


def test_a_pool_of_decoders_names_the_first_image_that_is_not_as_stated(tmp_path):
    pool = reader(tmp_path, decoders=3)
    for name in ("2.png", "4.png"):
        Image.new("RGB", (3, 3)).save(tmp_path / name)
    with pytest.raises(DataError, match=r"4\.png: 3 x 3 pixels, but images\.parquet says 9 x 9"):
        pool.squares([7, 3, 5])
