"""One training over several processes, each of which reads a slice of every batch.

Losses stay those of the whole batch: a model gathers what its network says, and what it should say, before rows are
compared or counted. Going back, `gathered` adds up what the losses of all processes ask of each row, so parameters
before it get their rows' part as many times as there are processes, and those behind it the whole gradient in every
process. The mean over processes, which `average_gradients` takes, is right for both, and wherever they mix.

Without torch.distributed, or in one process, every function here hands back what it was given.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

V = TypeVar("V")


class Rows(Protocol):
    """Of which some can be picked by number, as of a tensor."""

    def __getitem__(self, rows: Tensor, /) -> Any: ...


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def first_rank() -> bool:
    """Whether this is the one that writes files and reports."""
    return rank() == 0


class _Stacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = x.new_empty(ranks(), *x.shape)
        dist.all_gather(list(out.unbind()), x.contiguous())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # A gradient may be a view with strides of its own, of which a collective sends the wrong numbers unsaid
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[rank()]


def stacked(x: Float[Tensor, "*shape"]) -> Float[Tensor, "ranks *shape"]:
    """A tensor that has one shape in all processes, of each of them; with gradients."""
    stack: Tensor = x[None] if ranks() == 1 else _Stacked.apply(x)  # type: ignore[assignment]
    return stack


def gathered(value: V) -> V:
    """Rows of all processes, one process after the other; with gradients where numbers are real.

    Args:
        value: A tensor, or tensors in tuples, lists and dicts; their first axis is the batch, which may be longer in
            one process than in another. All else, as None, stays as it is.
    """
    if ranks() == 1:
        return value
    tensors: list[Tensor] = []
    _change(value, tensors.append)
    counts = iter(_counts([len(x) for x in tensors], tensors[0].device).unbind(1))
    return _change(value, lambda x: _join(x, next(counts).tolist()))


def gathered_numbers(numbers: Int[Tensor, "*shape"], count: int) -> Int[Tensor, "*all_shape"]:
    """Numbers of rows that are gathered, too, as they count afterwards.

    Args:
        count: Of the rows in this process.
    """
    if ranks() == 1:
        return numbers
    return gathered(numbers + place_of_rows(count)[0])


def place_of_rows(count: int) -> tuple[int, int]:
    """Where this process's rows begin among those of all, and how many there are in all.

    Args:
        count: Of the rows in this process.
    """
    counts = _everyone(count) if ranks() > 1 else [count]
    return sum(counts[: rank()]), sum(counts)


def gathered_texts(texts: Sequence[str]) -> Sequence[str]:
    """Texts of all processes, one process after the other."""
    if ranks() == 1:
        return texts
    parts: list[Any] = [None] * ranks()
    dist.all_gather_object(parts, list(texts))
    return [text for part in parts for text in part]


def own_share(x: Tensor) -> Tensor:
    """A part of rows that all processes have, for work that is worth sharing out; `gathered` joins what it gives."""
    return x if ranks() == 1 else x.tensor_split(ranks())[rank()]


def _change(value: Any, change: Callable[[Tensor], Any]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _change(part, change) for name, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_change(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _counts(own: Sequence[int], device: torch.device) -> Int[Tensor, "ranks counts"]:
    return stacked(torch.tensor(own, device=device)).cpu()


def _join(x: Tensor, counts: Sequence[int]) -> Tensor:
    """Rows of all processes; shorter ones are filled up on their way."""
    sent = x.byte() if x.dtype == torch.bool else x
    filled = torch.cat([sent, sent.new_zeros(max(counts) - len(x), *x.shape[1:])])
    rows = torch.cat([part[:count] for part, count in zip(stacked(filled), counts, strict=True)])
    return rows.to(x.dtype)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The mean over processes in place of each gradient; a parameter that no process has one for goes without."""
    learners = list(parameters)
    if ranks() == 1 or not learners:
        return
    parts = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in learners]
    asked = parts[0].new_tensor([p.grad is not None for p in learners])
    flat = torch.cat([*parts, asked])
    dist.all_reduce(flat)
    *means, asked = (flat / ranks()).split([*(p.numel() for p in learners), len(learners)])
    for parameter, mean, is_asked in zip(learners, means, asked.tolist(), strict=True):
        if is_asked:
            parameter.grad = torch.empty_like(parameter).copy_(mean.view_as(parameter))


def everywhere(fact: bool) -> bool:
    """Whether something is so in all processes."""
    return fact if ranks() == 1 else all(_everyone(fact))


def same_everywhere(number: int) -> bool:
    """Whether a number is one and the same in all processes."""
    return ranks() == 1 or len(set(_everyone(number))) == 1


def _everyone(number: int) -> list[int]:
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    return _counts([number], device)[:, 0].tolist()
