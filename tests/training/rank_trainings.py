"""Whole trainings by two processes, and what they draw and norm together. What comes of them is written to files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from deixis.core.errors import DataError
from deixis.core.records import write_json
from deixis.training import fit as loop
from deixis.training.draws import drawn, drawn_rows, start_streams
from deixis.training.fit import Recipe, fit
from deixis.training.ranks import average_gradients, gathered, rank, ranks
from deixis.training.repeated_batchnorm import RepeatedBatchNorm2d
from deixis.training.sync_batchnorm import synchronise
from tests.together import join_group

CPU = torch.device("cpu")
STEPS, ROWS = 3, 6
NORMS: dict[str, Any] = {
    "usual": lambda: nn.BatchNorm2d(3),
    "cumulative": lambda: nn.BatchNorm1d(3, momentum=None, eps=0.1),
    "bare": lambda: nn.BatchNorm2d(3, affine=False, momentum=0.3),
    "forgetful": lambda: nn.BatchNorm1d(3, track_running_stats=False),
    "repeated": lambda: RepeatedBatchNorm2d(3),
}


def small_model(*, dropout: float, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1)).double()


def batches(epoch: int) -> list[Tensor]:
    """Rows of this process: the first one has one more than the other."""
    generator = torch.Generator().manual_seed(epoch)
    whole = [torch.randn(ROWS, 4, generator=generator, dtype=torch.float64) for _ in range(STEPS)]
    return whole if ranks() == 1 else [rows.split([4, 2])[rank()] for rows in whole]


def train(model: nn.Module, scratch: Path, *, read: Any = batches, factor: float = 1.0) -> dict[str, Any]:
    def loss(x: Tensor) -> dict[str, Tensor]:
        out, truth = gathered((model(x), x.sum(1, keepdim=True)))
        return {"square": (out - truth).square().mean() * factor}

    recipe = Recipe(epochs=4, lr=1e-2, warmup_epochs=1)
    return fit(
        model, loss, read, steps_per_epoch=STEPS, recipe=recipe, device=CPU, scratch=scratch,
        curves=scratch.with_suffix(".csv"),
    )  # fmt: skip


def killed(epoch: int) -> Any:
    """In the third epoch, after a step."""
    yield from batches(epoch) if epoch < 2 else batches(epoch)[:1]
    if epoch == 2:
        raise KeyboardInterrupt


def train_together(number: int, folder: Path) -> None:
    """As process `number` of two."""
    join_group(number, 2, folder)
    loop.SECONDS_BETWEEN_SAVES = -1.0
    model = small_model(dropout=0.5)
    keep(model, folder / f"straight {number}", card=train(model, folder / "straight"))
    with pytest.raises(KeyboardInterrupt):
        train(small_model(dropout=0.5), folder / "killed", read=killed)
    model = small_model(dropout=0.5, seed=99)
    keep(model, folder / f"resumed {number}", card=train(model, folder / "killed"))
    model = small_model(dropout=0.0)
    keep(model, folder / f"without dropout {number}", card=train(model, folder / "sure"))
    write_json(refusals(number, folder), folder / f"refusals {number}.json")
    save_file(draws(), folder / f"draws {number}")
    for name in NORMS:
        save_file(normed(name), folder / f"norm {name} {number}")


def keep(model: nn.Module, path: Path, *, card: dict[str, Any]) -> None:
    save_file(dict(model.state_dict()), path)
    write_json(card, path.with_suffix(".json"))


def refusals(number: int, folder: Path) -> list[str]:
    """What each process says of a loss that is not finite in one, and of a state that one does not find."""
    said = []
    with pytest.raises(DataError) as error:
        train(small_model(dropout=0.0), folder / "broken", factor=float("nan") if number else 1.0)
    said.append(str(error.value))
    with pytest.raises(DataError) as error:
        train(small_model(dropout=0.0), folder / ("killed" if number else "elsewhere"))
    return [*said, str(error.value)]


def draws() -> dict[str, Tensor]:
    """One for the whole batch, one for each of its rows, and one of torch's own."""
    start_streams(7)
    drawn_first = drawn(lambda: torch.rand(3))
    own = torch.rand(3)
    return {"common": drawn_first, "rows": drawn_rows(2 + rank(), torch.rand), "own": own}


def normed(name: str) -> dict[str, Tensor]:
    """Two steps of a BatchNorm on rows of this process: output, gradients and running statistics."""
    norm = NORMS[name]().double().train()
    synchronise(norm)
    names = norm.state_dict().keys()
    found: dict[str, Tensor] = {}
    for step in range(2):
        x = own_rows(norm, step).requires_grad_()
        out = norm(x)
        whole = gathered(out)
        (whole * torch.linspace(-1, 2, whole.numel()).view_as(whole)).sum().backward()
        found |= {f"out {step}": out.detach(), f"gradient {step}": x.grad / ranks()}
    average_gradients(norm.parameters())
    found |= {f"gradient of {name}": p.grad for name, p in norm.named_parameters()}
    found |= dict(norm.state_dict())
    assert norm.state_dict().keys() == names
    norm.eval()
    return found | {"evaluated": norm(torch.ones(2, 3, *x.shape[2:], dtype=torch.float64)).detach()}


def own_rows(norm: nn.Module, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    places = (2, 2) if isinstance(norm, nn.BatchNorm2d) else ()
    whole = 100 + torch.randn(5, 3, *places, generator=generator, dtype=torch.float64)
    return whole if ranks() == 1 else whole.split([4, 1])[rank()]
