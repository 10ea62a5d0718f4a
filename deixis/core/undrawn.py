"""Models without their first random weights, for those whose whole state is loaded next.

Drawing BERT's takes longer than reading them; on the meta device it imports sympy, for seconds.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DRAWN = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}


class Undrawn(TorchFunctionMode):
    """Within it, fresh weights stay what their memory held."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run what torch is asked for, but no drawing."""
        named = kwargs or {}
        return (*args, *named.values())[0] if func in DRAWN else func(*args, **named)
