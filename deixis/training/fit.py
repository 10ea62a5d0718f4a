"""The one training loop, and the scheme of RefCLIP section 4 around it: warm-up, cosine, clip, weight EMA."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.checkpoints import load_state, save_state
from deixis.core.config import STRICT
from deixis.core.errors import ConfigError, DataError
from deixis.core.progress import quietly, say, track
from deixis.core.records import write_csv
from deixis.core.runtime import autocast
from deixis.training.adamw import AdamW
from deixis.training.draws import start_streams
from deixis.training.ranks import average_gradients, everywhere, first_rank, ranks, same_everywhere
from deixis.training.sync_batchnorm import synchronise
from deixis.training.terms import sent, with_total

SECONDS_BETWEEN_SAVES = 30.0
SAVES = "DEIXIS_SAVE_SECONDS"  # other seconds, where machines come and go
POLY_POWER = 0.9  # of TRIS and PCNet
Groups = Sequence[tuple[Sequence[nn.Parameter], float]]  # parameters with a factor on the learning rate


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """How to optimise; the defaults are those of the RefCLIP family."""

    epochs: int = 25
    # what one goes through, and a batch counts. refs: one phrase of each, as in the releases; images: each with all its
    # phrases, so that what is computed of an image is computed once
    epoch: Literal["phrases", "refs", "images"] = "phrases"
    batch_size: int = 64
    lr: float = 1e-4
    min_lr: float = 1e-6
    start_lr: float = 1e-7
    warmup_epochs: float = 3.0
    # after the warm-up. cosine: RefCLIP's family; poly: TRIS and PCNet; poly_by_epoch: TRIS's released step 2, which
    # counts epochs where steps are meant, and so hardly falls; tenths: MAttNet; drop: TransVG, a tenth for the last
    # third of the epochs
    schedule: Literal["cosine", "poly", "poly_by_epoch", "tenths", "drop"] = "cosine"
    tenth_steps: PositiveInt = 8000  # of tenths: constant for so many steps, then a tenth in every so many
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-9
    weight_decay: float = 0.0
    clip_norm: float = 0.15  # global L2 norm; 0 switches clipping off
    ema_decay: float = 0.9997  # the cap of a ramp; 0 switches averaging off
    bf16_on_processors: bool = False  # products, as always on GPUs: twice as fast where a processor has them, else slow


def learning_rate(step: int, *, steps_per_epoch: int, recipe: Recipe) -> float:
    """Linear warm-up, then from `lr` towards `min_lr` as scheduled; `step` counts optimiser steps from 0."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return recipe.start_lr + (recipe.lr - recipe.start_lr) * step / warmup
    after = step - warmup
    left = max(1.0, recipe.epochs * steps_per_epoch - warmup)
    if recipe.schedule == "tenths":
        share = 0.1 ** max(0.0, after / recipe.tenth_steps - 1)
    elif recipe.schedule == "poly":
        share = (1 - after / left) ** POLY_POWER
    elif recipe.schedule == "drop":
        share = 1.0 if 3 * after < 2 * left else 0.1
    elif recipe.schedule == "poly_by_epoch":
        share = (1 - after // steps_per_epoch / left) ** POLY_POWER
    else:
        share = 0.5 * (1 + math.cos(math.pi * (after / left)))
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * share


def ema_decay(step: int, cap: float) -> float:
    """Decay of the update after optimiser step `step` (from 0): a ramp, (s + 1) / (s + 10), up to the cap."""
    return min(cap, (step + 1) / (step + 10))


class WeightAverage:
    """A shadow of trainable weights and moving buffers; the weights in training are never overwritten.

    Frozen parts are left out: their average is what they are. Integer buffers are copied.
    """

    def __init__(self, model: nn.Module, cap: float) -> None:
        self.cap = cap
        self.last_decay = 0.0
        self._live = _moving_tensors(model)
        self.shadow = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take one step towards the live weights; call after the optimiser's step number `step`."""
        self.last_decay = ema_decay(step, self.cap)
        floating = [name for name, tensor in self._live.items() if tensor.is_floating_point()]
        shadows = [self.shadow[name] for name in floating]
        torch._foreach_lerp_(shadows, [self._live[name].detach() for name in floating], 1 - self.last_decay)
        for name in self._live.keys() - set(floating):
            self.shadow[name].copy_(self._live[name])

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """End of training: the averaged weights become the model's."""
        for name, tensor in self._live.items():
            tensor.copy_(self.shadow[name])


def _moving_tensors(model: nn.Module) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for prefix, module in model.named_modules():
        if module.training:
            for name, buffer in module.named_buffers(recurse=False):
                tensors[f"{prefix}.{name}" if prefix else name] = buffer
    return tensors


def fit(
    model: nn.Module,
    loss: Callable[[Any], dict[str, Tensor]],
    batches: Callable[[int], Iterable[Any]],
    *,
    steps_per_epoch: int,
    recipe: Recipe,
    device: torch.device,
    scratch: Path,
    curves: Path | None = None,
    weights: dict[str, float] | None = None,
    groups: Groups | None = None,
) -> dict[str, float | int]:
    """Train `model` in place; it ends with the averaged weights, in evaluation mode.

    Several processes may call it together (`deixis.training.ranks`); files are then the first one's matter.

    Args:
        loss: Batch -> named, unweighted terms: of the whole batch, in every process.
        batches: Epoch number -> its batches; a pure function of the epoch, so that a killed run can resume. Of several
            processes each has its slices.
        scratch: Folder of this very run (its name is the hash of all inputs); holds the state to resume from.
        curves: CSV for the mean of every term per epoch.
        weights: Factor of each term in the sum; 1 where absent.
        groups: Parameters with a factor on the learning rate; all trainable ones with factor 1 by default.

    Returns:
        Facts for the model's card: steps, last EMA decay, last loss.

    Raises:
        DataError: If the loss stops being finite, or processes find different states to resume from.
    """
    if ranks() > 1:
        scratch = scratch.with_name(f"{scratch.name}-{ranks()}-ranks")  # the last digits depend on how many add up
    state = _State(model, recipe, groups)
    state.resume(scratch)
    last_save, pause = time.monotonic(), seconds_between_saves()
    for epoch in range(len(state.rows), recipe.epochs):
        title = f"epoch {epoch + 1}/{recipe.epochs}"
        sums: dict[str, float] = {}
        start_streams(state.seed, epoch)
        for index, batch in enumerate(_tracked(batches(epoch), title, total=steps_per_epoch)):
            step = epoch * steps_per_epoch + index
            with autocast(device, on_processors=recipe.bf16_on_processors):
                terms = loss(batch)
            terms = with_total(terms, weights or {})
            rate = learning_rate(step, steps_per_epoch=steps_per_epoch, recipe=recipe)
            for name, value in state.step(step, terms, rate).items():
                sums[name] = sums.get(name, 0.0) + value
        means = {name: value / steps_per_epoch for name, value in sums.items()}
        state.rows.append({"epoch": epoch + 1} | means)
        _say(f"{title}: " + ", ".join(f"{name} {value:.4f}" for name, value in means.items()))
        if time.monotonic() - last_save > pause and epoch + 1 < recipe.epochs:
            state.save(scratch)
            last_save = time.monotonic()
    together = {"ranks": ranks()} if ranks() > 1 else {}
    return {"steps": recipe.epochs * steps_per_epoch} | state.finish(curves) | together


def seconds_between_saves() -> float:
    """How long a training goes on, at least, before its state is saved; it is at the end of an epoch.

    Raises:
        ConfigError: If the variable that says so holds no number.
    """
    given = os.environ.get(SAVES)
    try:
        return SECONDS_BETWEEN_SAVES if given is None else float(given)
    except ValueError:
        raise ConfigError(f'{SAVES} is "{given}". Allowed: seconds, as 600, or no such variable') from None


def _tracked(batches: Iterable[Any], title: str, *, total: int) -> Iterator[Any]:
    """The batches, with progress where the first process reads them."""
    with contextlib.nullcontext() if first_rank() else quietly():
        yield from track(batches, title, total=total)


def _say(line: str) -> None:
    if first_rank():
        say(line)


class _State:
    """All that a run of training changes, and can be stored and read again: `rows` are the mean terms per epoch."""

    def __init__(self, model: nn.Module, recipe: Recipe, groups: Groups | None) -> None:
        groups = groups or [([p for p in model.parameters() if p.requires_grad], 1.0)]
        self.model, self.clip_norm = model, recipe.clip_norm
        self.optimiser = AdamW(groups, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay)
        model.train()  # the average follows the buffers that move in training
        synchronise(model)
        self.average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
        self.rows: list[dict[str, Any]] = []
        self.seed = torch.initial_seed()

    def step(self, number: int, terms: dict[str, Tensor], rate: float) -> dict[str, float]:
        """One step of the optimiser down the gradient of `total`, with learning rate `rate`; what the terms were."""
        told = sent(terms)
        self.optimiser.zero_grad()
        terms["total"].backward()
        values = told()  # once a step, while a GPU is busy with the gradients
        if not everywhere(math.isfinite(values["total"])):
            stated = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "total")
            raise DataError(f"step {number}: the loss is not finite ({stated}). Lower recipe.lr, then run: dvc repro")
        average_gradients(self.optimiser.parameters)
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.optimiser.parameters, self.clip_norm)
        self.optimiser.step(rate)
        if self.average:
            self.average.update(number)
        return values

    def finish(self, curves: Path | None) -> dict[str, float | int]:
        """Leave the averaged weights in the model, in evaluation mode; write the rows; what the card says of them."""
        if self.average:
            self.average.copy_to_model()
        self.model.eval()
        if curves is not None and first_rank():
            write_csv(pd.DataFrame(self.rows), curves)
        return {
            "last_ema_decay": self.average.last_decay if self.average else 0.0,
            "last_loss": self.rows[-1]["total"] if self.rows else float("nan"),
        }

    def save(self, scratch: Path) -> None:
        """Write everything to resume from, the random numbers of torch included; the first process alone does."""
        if not first_rank():
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"optimiser.{name}": tensor for name, tensor in self.optimiser.state().items()}
        if self.average:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.shadow.items()}
        tensors["rng.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        save_state(tensors, {"rows": self.rows, "seed": self.seed}, scratch / "state.safetensors")

    def resume(self, scratch: Path) -> None:
        """Read what `save` wrote, where it wrote something.

        Raises:
            DataError: If not all processes find the same.
        """
        path = scratch / "state.safetensors"
        if path.exists():
            self._load(path)
        if not same_everywhere(len(self.rows)):
            raise DataError(
                f"{path}: the processes of this training find different states; this one goes on after epoch "
                f"{len(self.rows)}. Put scratch on a folder that all of them share, then run: dvc repro"
            )

    def _load(self, path: Path) -> None:
        tensors, facts = load_state(path)
        self.model.load_state_dict(
            {name[6:]: t for name, t in tensors.items() if name.startswith("model.")}, strict=True
        )
        self.optimiser.load({name[10:]: t for name, t in tensors.items() if name.startswith("optimiser.")})
        if self.average:
            for name, tensor in self.average.shadow.items():
                tensor.copy_(tensors[f"average.{name}"])
        torch.set_rng_state(tensors["rng.cpu"])
        if "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])
        self.rows, self.seed = facts["rows"], facts["seed"]
        _say(f"resuming after epoch {len(self.rows)}")
