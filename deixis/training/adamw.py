"""AdamW through torch's functional form.

`torch.optim.AdamW` is the same arithmetic, but its class makes torch import its compiler: four seconds in every
stage that trains, and nothing here is compiled. A test holds the two to the same weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

STATE = ("exp_avg", "exp_avg_sq", "step")


class AdamW:
    """Groups of parameters, each with a factor on the learning rate."""

    def __init__(
        self,
        groups: Sequence[tuple[Sequence[nn.Parameter], float]],
        *,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        self.groups = [(list(parameters), factor) for parameters, factor in groups]
        self.parameters = [parameter for parameters, _ in self.groups for parameter in parameters]
        self._betas, self._eps, self._weight_decay = betas, eps, weight_decay
        self._state = {
            parameter: {
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
                "step": torch.zeros((), device=parameter.device),
            }
            for parameter in self.parameters
        }

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One update; parameters without a gradient stay as they are."""
        for parameters, factor in self.groups:
            moving = [parameter for parameter in parameters if parameter.grad is not None]
            averages, squares, steps = ([self._state[parameter][name] for parameter in moving] for name in STATE)
            adamw(
                moving,  # type: ignore[arg-type]
                [parameter.grad for parameter in moving if parameter.grad is not None],
                averages,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=self._betas[0],
                beta2=self._betas[1],
                lr=lr * factor,
                weight_decay=self._weight_decay,
                eps=self._eps,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """Everything that must be kept to go on, by name."""
        return {
            f"{index}.{name}": tensor
            for index, parameter in enumerate(self.parameters)
            for name, tensor in self._state[parameter].items()
        }

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()` of a run with the same parameters."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
