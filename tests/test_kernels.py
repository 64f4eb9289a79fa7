"""The kernels of CUDA, interpreted where there is none: what they make is what operations of PyTorch make."""

import numpy as np
import pytest
import torch

from pytorch.variance import accumulator as accumulator_module
from pytorch.variance.accumulator import VarianceAccumulator

kernels = pytest.importorskip("pytorch.variance.kernels", reason="Triton is missing")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LAYERS = [20, 1, 50]


def table(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def accumulated(monkeypatch):
    """A function that accumulates activations by kernels, or by operations, and returns all that follows."""

    def run(by, values, labels, dispersion="std", batch=30, at_once=2, width=1000):
        monkeypatch.setattr(accumulator_module, "kernels_for", lambda device: by)
        monkeypatch.setattr(accumulator_module, "shape_of_blocks", lambda *arguments: (width, at_once))
        found = VarianceAccumulator(values.shape[1], LAYERS, dispersion, (), DEVICE, [[0, 2], [1]], batch)
        for part, some in zip(values.to(DEVICE).split(batch), labels.split(batch), strict=True):
            found.begin(some)
            for step in range(values.shape[1]):
                found.add(part[:, step])
            found.end()
        exact = *found.transformation_variance(), *found.sample_variance(), *(map(np.asarray, found.constant_units()))
        return exact, vars(found.errors()).values()

    return run


def assert_alike(found, expected):
    for part, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-10, atol=0)
    for part, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dispersion", ["std", "variance"])
@pytest.mark.parametrize("classes", [1, 3, 11])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_statistics(accumulated, dispersion, classes, at_once):
    """Of batches that lack some of the classes, the last one smaller."""
    values, labels = table(40, 3, sum(LAYERS)), torch.arange(40) ** 2 % classes
    options = {"dispersion": dispersion, "at_once": at_once}
    assert_alike(accumulated(kernels, values, labels, **options), accumulated(None, values, labels, **options))


def test_statistics_of_single_precision_in_several_blocks(accumulated):
    values, labels = table(50, 2, sum(LAYERS)).float() + 1000, torch.arange(50) % 4
    assert_alike(accumulated(kernels, values, labels, width=40), accumulated(None, values, labels))


def test_constant_units_are_constant_exactly(accumulated):
    values, labels = table(50, 2, sum(LAYERS)).float() + 1000, torch.arange(50) % 4
    values[..., 5], values[..., 7], values[:, :, 9] = 0.1, values[:, :1, 7], values[:1, :, 9]
    (tv, _, sv, _, constant, _), _ = found = accumulated(kernels, values, labels)
    assert_alike(found, accumulated(None, values, labels))
    assert (tv[5], sv[5], tv[7], sv[9]) == (0, 0, 0, 0)
    assert constant[0] == 1


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is(accumulated, odd):
    values, labels = table(50, 2, sum(LAYERS)), torch.arange(50) % 4
    values[4, 1, 15] = odd
    (tv, tv_classes, sv, _, _, _), _ = found = accumulated(kernels, values, labels)
    assert_alike(found, accumulated(None, values, labels))
    for of_units in (tv, sv, tv_classes[0]):
        assert np.flatnonzero(~np.isfinite(of_units)).tolist() == [15]
    assert np.isfinite(tv_classes[1:]).all()


LAYOUTS = {
    "channels last": lambda: (table(3, 70, 5, 9).to(memory_format=torch.channels_last), (2, 3)),
    "channels first": lambda: (table(3, 70, 5, 9), (2, 3)),
    "a part of a map": lambda: (table(3, 70, 15, 12)[:, :, 2:7, 1:10], (2, 3)),
    "one position": lambda: (table(3, 70, 1, 1), (2, 3)),
    "one channel": lambda: (table(3, 1, 200, 50), (2, 3)),
    "volumes": lambda: (table(3, 7, 4, 5, 6), (2, 3, 4)),
    "tokens": lambda: (table(3, 17, 70), (1,)),
    "sequences": lambda: (table(3, 70, 17), (2,)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("hows", [("mean",), ("max",), ("sum", "max"), ("mean", "max")], ids=",".join)
def test_reductions_of_positions(layout, kind, hows):
    activation, axes = LAYOUTS[layout]()
    activation = activation.to(DEVICE, kind)
    units = torch.float64 if kind == torch.float64 else torch.float32
    channels = activation.shape[2 if axes == (1,) else 1]
    rows = torch.full((3, 2, channels), torch.nan, dtype=units, device=DEVICE)
    kernels.reading.reduce_positions(activation, axes, units, {how: rows[:, place] for place, how in enumerate(hows)})
    for place, how in enumerate(hows):
        exact = getattr(activation.double(), {"max": "amax"}.get(how, how))(axes)
        within = {torch.float32: 1e-5, torch.float64: 1e-13}[units] * activation.double().abs().sum(axes).max().item()
        torch.testing.assert_close(rows[:, place].double(), exact, rtol=0, atol=within)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_reductions_hide_nothing_that_is_not_finite(odd):
    activation = table(2, 5, 4, 4)
    activation[0, 3, 1, 2] = odd
    activation[1, 4] = float("-inf")
    outs = {how: torch.empty(2, 5, dtype=torch.float64, device=DEVICE) for how in ("mean", "max")}
    kernels.reading.reduce_positions(activation.to(DEVICE), (2, 3), torch.float64, outs)
    torch.testing.assert_close(outs["mean"].cpu(), activation.mean((2, 3)), equal_nan=True)
    torch.testing.assert_close(outs["max"].cpu(), activation.amax((2, 3)), equal_nan=True)
