"""Random weights in published layouts, and a way to read them as an import does."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deixis.core.checkpoints import count_parameters
from deixis.core.frozen import freeze
from deixis.core.undrawn import Undrawn

CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # mean and deviation
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def close(actual: Tensor, expected: Tensor) -> None:
    """Equal to 1e-4, and not because both vanish."""
    assert actual.shape == expected.shape
    assert expected.std() > 1e-2
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def randomise(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Values for which no bias is zero and no norm the identity, of a size that keeps deep nets finite."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                fan = parameter[0].numel()
                side = (3 / fan) ** 0.5  # of a deviation of 1 / sqrt(fan); normal numbers take thrice the time
                parameter.uniform_(-side, side, generator=generator)
            else:
                parameter.uniform_(0.5, 1.0, generator=generator).mul_(0.2 if parameter.mean().abs() < 0.5 else 1.0)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1, generator=generator)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5, generator=generator)
    return module


def squares(side: int, *, batch: int = 1, seed: int = 1) -> Tensor:
    """Images of noise, uint8 [batch, 3, side, side]."""
    return torch.randint(256, (batch, 3, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def standard(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Levels over 255, minus the mean, over the deviation: torchvision's, which is nobody's here."""
    from torchvision.transforms.functional import normalize

    return normalize(images.float() / 255, list(mean), list(std))


def imported(kind: Any, path: Path, **options: Any) -> Any:
    """A frozen model with the published weights, loaded strictly."""
    config, state = kind.read_published(path, **options)
    with Undrawn():
        model = kind(config)
    model.load_state_dict(state, strict=True)
    return freeze(model)


def published_size(kind: Any, **sizes: Any) -> int:
    """Parameters at these sizes, without making them."""
    with torch.device("meta"), Undrawn():
        return count_parameters(kind(kind.Config(**sizes)))
