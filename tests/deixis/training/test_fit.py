"""Schedule, weight average and the training loop."""

import pandas as pd
import pytest
import torch
from torch import nn

from deixis.core.errors import ConfigError, DataError
from deixis.core.frozen import freeze
from deixis.training import fit as loop
from deixis.training.fit import Recipe, WeightAverage, ema_decay, fit, learning_rate, seconds_between_saves

CPU = torch.device("cpu")
STEPS = 3


@pytest.mark.parametrize(
    ("steps_per_epoch", "step", "expected"),
    [
        (662, 0, 1e-7), (662, 331, 1.675e-5), (662, 1986, 1e-4), (662, 9268, 5.05e-5), (662, 16549, 1e-6),
        (1000, 0, 1e-7), (1000, 1500, 5.005e-5), (1000, 3000, 1e-4), (1000, 14000, 5.05e-5), (1000, 25000, 1e-6),
    ],
)  # fmt: skip
def test_learning_rate(steps_per_epoch, step, expected):
    assert learning_rate(step, steps_per_epoch=steps_per_epoch, recipe=Recipe()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("schedule", "epochs", "steps_per_epoch", "step", "share"),
    [
        pytest.param("poly", 10, 100, 500, 0.535887, id="32 half way"),
        pytest.param("poly_by_epoch", 15, 880, 14 * 880, 0.999045, id="32 epoch 14 of 15, as released"),
        pytest.param("poly_by_epoch", 15, 880, 15 * 880 - 1, 0.999045, id="32 its last step"),
        pytest.param("drop", 90, 1884, 60 * 1884 - 1, 1.0, id="TransVG before epoch 60 of 90"),
        pytest.param("drop", 90, 1884, 60 * 1884, 0.1, id="TransVG from there on"),
        pytest.param("drop", 180, 1877, 120 * 1877 - 1, 1.0, id="before epoch 120 of 180"),
        pytest.param("poly", 15, 880, 14 * 880, (1 / 15) ** 0.9, id="the same step, as meant"),
    ],
)
def test_polynomial_schedules(schedule, epochs, steps_per_epoch, step, share):
    recipe = Recipe(epochs=epochs, schedule=schedule, warmup_epochs=0.0, lr=5e-5, min_lr=0.0)
    rate = learning_rate(step, steps_per_epoch=steps_per_epoch, recipe=recipe)
    assert rate / 5e-5 == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 4e-4), (4000, 4e-4), (8000, 4e-4), (12000, 1.2649e-4), (16000, 4e-5), (30000, 7.113e-7)],
)
def test_l2_mattnets_schedule(step, expected):
    recipe = Recipe(schedule="tenths", warmup_epochs=0.0, lr=4e-4, min_lr=0.0)
    assert learning_rate(step, steps_per_epoch=1000, recipe=recipe) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "poly", "poly_by_epoch", "tenths", "drop"])
def test_every_schedule_starts_at_the_top_after_the_warm_up_and_ends_above_the_least(schedule):
    recipe = Recipe(schedule=schedule, tenth_steps=20)
    rates = [learning_rate(step, steps_per_epoch=10, recipe=recipe) for step in range(250)]
    assert rates[30] == recipe.lr and rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True) and recipe.lr > rates[-1] > recipe.min_lr


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.1), (1, 0.181818), (9, 0.526316), (99, 0.917431), (100, 0.918182), (16549, 0.999456), (29989, 0.99969999),
     (29990, 0.9997), (100_000, 0.9997)],
)  # fmt: skip
def test_ema_decay(step, expected):
    assert ema_decay(step, 0.9997) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(("updates", "expected"), [(3, 1 / 220), (10, 1.0825e-5)])
def test_share_of_the_first_weights_in_the_average(updates, expected):
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    average = WeightAverage(model, 0.9997)
    nn.init.zeros_(model.weight)
    for step in range(updates):
        average.update(step)
    assert average.shadow["weight"].item() == pytest.approx(expected, rel=1e-4)


def test_average_of_weights_that_grow_by_one_lags_a_tenth():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.9997)
    lags = []
    for step in range(5):
        nn.init.constant_(model.weight, step + 1)
        average.update(step)
        lags.append(average.shadow["weight"].item())
    assert lags == pytest.approx([0.9, 1.8, 2.7, 3.6, 4.5])


def small_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))


def copy_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_average_covers_batchnorm_buffers_and_leaves_the_model_alone():
    model = small_model().train()
    average = WeightAverage(model, 0.9997)
    assert {"0.weight", "4.bias", "1.running_mean", "1.running_var"} <= average.shadow.keys()
    model(torch.randn(6, 4) + 3)
    before = copy_of(model)
    average.update(0)
    assert_same(copy_of(model), before)
    torch.testing.assert_close(average.shadow["1.running_mean"], 0.9 * before["1.running_mean"])
    average.copy_to_model()
    assert torch.equal(model[1].running_mean, average.shadow["1.running_mean"])


def batches(epoch):
    generator = torch.Generator().manual_seed(epoch)
    return [torch.randn(6, 4, generator=generator) for _ in range(STEPS)]


def run(model, scratch, *, batches=batches, loss=None, recipe=None, **options):
    recipe = recipe or Recipe(epochs=4, lr=1e-2, warmup_epochs=1)
    loss = loss or (lambda x: {"square": (model(x) - x.sum(1, keepdim=True)).square().mean()})
    return fit(model, loss, batches, steps_per_epoch=STEPS, recipe=recipe, device=CPU, scratch=scratch, **options)


@pytest.mark.parametrize("done", [0, 2], ids=["between-epochs", "within-an-epoch"])
def test_interrupted_run_ends_with_the_same_bits(tmp_path, monkeypatch, done):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", -1.0)
    straight = small_model()
    card = run(straight, tmp_path / "straight", curves=tmp_path / "straight.csv")

    def interrupted(epoch):
        yield from batches(epoch) if epoch < 2 else batches(epoch)[:done]
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small_model(), tmp_path / "killed", batches=interrupted)
    epochs = []
    resumed = small_model(seed=99)
    again = run(
        resumed, tmp_path / "killed", batches=lambda e: epochs.append(e) or batches(e), curves=tmp_path / "resumed.csv"
    )
    assert epochs == [2, 3]
    assert_same(copy_of(resumed), copy_of(straight))
    assert again == card
    assert (tmp_path / "resumed.csv").read_bytes() == (tmp_path / "straight.csv").read_bytes()


def test_the_pause_between_saves_can_be_set(monkeypatch):
    assert seconds_between_saves() == loop.SECONDS_BETWEEN_SAVES
    monkeypatch.setenv("DEIXIS_SAVE_SECONDS", "0")
    assert seconds_between_saves() == 0
    monkeypatch.setenv("DEIXIS_SAVE_SECONDS", "often")
    with pytest.raises(ConfigError, match=r'DEIXIS_SAVE_SECONDS is "often". Allowed: seconds'):
        seconds_between_saves()


def test_model_ends_with_the_averaged_weights_in_evaluation_mode(tmp_path):
    traces = {0.0: [], 0.9997: []}
    for cap, trace in traces.items():
        model = nn.Linear(4, 1, bias=False)
        nn.init.zeros_(model.weight)

        def loss(x, model=model, trace=trace):
            trace.append(model.weight.detach().clone())
            return {"square": (model(x) - 1).square().mean()}

        run(model, tmp_path / str(cap), loss=loss, recipe=Recipe(epochs=2, lr=0.1, warmup_epochs=0, ema_decay=cap))
        trace.append(model.weight.detach().clone())
        assert not model.training
    raw, averaged = traces[0.0], traces[0.9997]
    assert all(torch.equal(a, b) for a, b in zip(raw[:-1], averaged[:-1], strict=True))
    shadow = raw[0]
    for step, weights in enumerate(raw[1:]):
        decay = (step + 1) / (step + 10)
        shadow = decay * shadow + (1 - decay) * weights
    torch.testing.assert_close(averaged[-1], shadow)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_names_the_term(tmp_path, value):
    model = small_model()

    def loss(x):
        return {"fine": model(x).mean(), "broken": model(x).mean() * value}

    with pytest.raises(DataError, match=r"step 0: .*broken -?(nan|inf)"):
        run(model, tmp_path, loss=loss)


def test_frozen_parts_keep_their_weights_and_buffers(tmp_path):
    model = nn.Sequential(freeze(small_model()), nn.Linear(1, 1))
    frozen, trained = copy_of(model[0]), copy_of(model[1])
    run(model, tmp_path)
    assert_same(copy_of(model[0]), frozen)
    assert not torch.equal(model[1].weight, trained["weight"])


def test_gradient_is_clipped_to_a_global_norm(tmp_path):
    model = small_model()
    run(model, tmp_path, loss=lambda x: {"large": 1000 * model(x).square().mean()})
    assert torch.stack([p.grad.norm() for p in model.parameters()]).norm().item() == pytest.approx(0.15, rel=1e-3)


def test_terms_are_weighted_in_the_sum_and_recorded_as_they_are(tmp_path):
    model = nn.Linear(4, 1)

    def loss(x):
        return {"one": model(x).mean() * 0 + 1, "two": model(x).mean() * 0 + 2}

    card = run(model, tmp_path, loss=loss, weights={"two": 0.01}, curves=tmp_path / "curves.csv")
    assert card["last_loss"] == pytest.approx(1.02)
    assert card["steps"] == 4 * STEPS
    assert card["last_ema_decay"] == pytest.approx(12 / 21)
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert curves[["one", "two"]].to_numpy().tolist() == [[1.0, 2.0]] * 4


@pytest.mark.parametrize("asked", [False, True])
def test_products_are_in_half_precision_where_that_is_asked_for_and_weights_never(tmp_path, asked):
    model, kinds = small_model(), set()

    def loss(x):
        answer = model(x)
        kinds.add(answer.dtype)
        return {"square": (answer - x.sum(1, keepdim=True)).square().mean()}

    recipe = Recipe(epochs=4, lr=1e-2, warmup_epochs=1, bf16_on_processors=asked)
    run(model, tmp_path, loss=loss, recipe=recipe)
    assert kinds == {torch.bfloat16 if asked else torch.float32}
    assert model[0].weight.dtype == torch.float32 and model[0].weight.isfinite().all()
