"""BatchNorm of a map before it grows, with what it would remember behind the growth."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class RepeatedBatchNorm2d(nn.BatchNorm2d):
    """Of values each of which will be repeated so many times: mean and variance are the same, their count is not.

    A batch's variance is remembered times count / (count - 1), so the repetitions count there.
    """

    repeats = 4  # a map that grows twofold in both directions

    def forward(self, input: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Normalise as `nn.BatchNorm2d` would the grown map."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        out = F.batch_norm(input, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)
        count = input.numel() // input.shape[1]
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (self.repeats * (count - 1) / (self.repeats * count - 1)), self.momentum)
        return out
