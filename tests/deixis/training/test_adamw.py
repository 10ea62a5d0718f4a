"""Our functional AdamW against torch's class."""

import torch
from torch import nn

from deixis.training.adamw import AdamW


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Linear(3, 3))


def test_same_weights_as_torch_with_two_groups_and_an_unused_layer():
    ours, theirs = _model(), _model()
    settings = {"betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": 0.1}
    mine = AdamW([(list(ours[0].parameters()), 1.0), (list(ours[2:].parameters()), 0.1)], **settings)
    reference = torch.optim.AdamW(
        [{"params": theirs[0].parameters(), "lr": 0.01}, {"params": theirs[2:].parameters(), "lr": 0.001}], **settings
    )
    for step in range(5):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
        for model, optimiser in ((ours, mine), (theirs, reference)):
            optimiser.zero_grad()
            model[2](model[1](model[0](x))).square().sum().backward()  # the last layer gets no gradient
            optimiser.step(0.01) if optimiser is mine else optimiser.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_state_goes_on_where_it_stopped():
    straight, broken = _model(), _model()
    settings = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}

    def train(model: nn.Module, optimiser: AdamW, steps: range) -> None:
        for step in steps:
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
            optimiser.zero_grad()
            model(x).square().sum().backward()
            optimiser.step(0.01)

    train(straight, AdamW([(list(straight.parameters()), 1.0)], **settings), range(6))
    first = AdamW([(list(broken.parameters()), 1.0)], **settings)
    train(broken, first, range(3))
    second = AdamW([(list(broken.parameters()), 1.0)], **settings)
    second.load({name: tensor.clone() for name, tensor in first.state().items()})
    train(broken, second, range(3, 6))
    for a, b in zip(straight.parameters(), broken.parameters(), strict=True):
        assert torch.equal(a, b)
