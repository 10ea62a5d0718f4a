"""Which images a detector knows, by the statistics of its maps."""

import pytest
import torch

from deixis.core.errors import DataError
from deixis.labelling.domain import FILE, fit_domain, map_statistics, read_domain, write_domain


def statistics(count: int, *, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Of images whose channels move together, with different spreads."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(12, 60, generator=torch.Generator().manual_seed(9))
    mixed = torch.randn(count, 12, generator=generator) @ mixing + torch.randn(count, 60, generator=generator)
    return mixed * torch.linspace(0.1, 5, 60) + 3 + shift * torch.arange(60)


def test_images_like_those_of_training_belong_and_others_do_not():
    domain = fit_domain("drawn scenes", statistics(600, seed=0), statistics(300, seed=1))
    assert 0.96 < domain.belongs(statistics(1000, seed=2)).float().mean() <= 1
    assert not domain.belongs(statistics(200, seed=3, shift=1.0)).any()
    assert domain.distance(statistics(1000, seed=2)).median() == pytest.approx(1, abs=0.2)


def test_the_limit_is_set_by_images_that_were_not_fitted():
    fitted = statistics(60, seed=0)
    near, far = (fit_domain("", fitted, statistics(300, seed=1, shift=shift)) for shift in (0.0, 1.0))
    assert far.limit > 2 * near.limit


def test_every_map_counts_and_every_image_alone():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(3, 4, 8 * scale, 8 * scale, generator=generator) for scale in (1, 2)]
    whole = map_statistics(maps)
    assert whole.shape == (3, 2 * (4 + 4))
    torch.testing.assert_close(whole[1:2], map_statistics([x[1:2] for x in maps]))
    torch.testing.assert_close(whole[:, :4], maps[0].mean((2, 3)))


def test_a_domain_comes_back_from_its_folder(tmp_path):
    assert read_domain(tmp_path) is None
    domain = fit_domain("drawn scenes", statistics(60, seed=0), statistics(30, seed=1))
    write_domain(domain, tmp_path)
    again = read_domain(tmp_path)
    assert again is not None and (again.name, again.limit) == (domain.name, domain.limit)
    assert torch.equal(again.whiten, domain.whiten)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:100])
    with pytest.raises(DataError, match=r"domain\.safetensors"):
        read_domain(tmp_path)
