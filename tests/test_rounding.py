"""Units that vary by rounding alone are said to, and others are not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytorch.transformations import rotations
from pytorch.variance import measure_variance

TURNS = rotations(3)


def test_units_that_vary_by_rounding_are_told_from_constant_ones():
    """The mean of a map after instance norm is 0 by construction, and what follows from it is no more than that."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    images = F.interpolate(torch.rand(24, 3, 8, 8), size=32)
    found = measure_variance(model, images, torch.arange(24) % 2, TURNS)
    for group in ("all", "stratified", "0"):
        flagged = {name: units.tolist() for name, units in found.rounding_units(group).items()}
        assert flagged == {"0": [False] * 8, "1": [True] * 8, "2": [True] * 8, "4": [True] * 5}
        assert found.unit_counts(group)["rounding"] == 21
        varying = found.layer_means(group, varying=True)
        assert varying["0"] == found.layer_means(group)["0"]
        assert np.isnan(varying["1"])
        assert found.global_mean(group, varying=True) == pytest.approx(varying["0"])


@pytest.mark.parametrize("dispersion", ["std", "variance"])
def test_an_invariant_unit_is_said_to_be_invariant(dispersion):
    """The sum over a C4 orbit of maps, pooled, does not change under quarter turns, but by the order of its sums."""

    class Invariant(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)

        def forward(self, x):
            turned = [self.conv(x.rot90(quarter, (2, 3))) for quarter in range(4)]
            return torch.relu(sum(maps.mean((2, 3)) for maps in turned))

    torch.manual_seed(0)
    turns = [lambda batch, k=k: batch.rot90(k, (2, 3)) for k in range(4)]
    found = measure_variance(Invariant(), torch.rand(16, 3, 15, 15), None, turns, dispersion=dispersion)
    values = found.normalized_variance()["Invariant"]
    living = ~found.constant_units()["Invariant"]
    assert living.any()
    assert (values[living] < 1e-5).all()
    np.testing.assert_array_equal(found.invariant_units()["Invariant"], living)
    assert not found.invariant_units()["conv"].any()


@pytest.mark.parametrize("aggregation", ["mean", "max"])
@pytest.mark.parametrize("offset", [0, 100, 1e4, 1e5])
def test_what_a_large_offset_rounds_away_is_rounding(offset, aggregation):
    """Rolled images give rolled maps, so their means and maxima vary by rounding alone: by that of the offset."""

    class Offset(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, padding=1, padding_mode="circular")

        def forward(self, x):
            return self.conv(x) + offset

    assert_invariant(Offset(), ["conv", "Offset"], aggregation)


def test_what_is_rounded_before_a_difference_is_rounding():
    """A batch norm takes a large mean away, and leaves the digits that rounding has spoilt."""
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(16))
    model[0].bias.data += 1e6
    model[1].running_mean += 1e6
    assert_invariant(model, ["0", "1"], "mean")


def assert_invariant(model, layers, aggregation):
    images = torch.rand(24, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    rolls = [lambda batch, k=k: batch.roll((k, 3 * k), (2, 3)) for k in range(6)]
    found = measure_variance(model, images, None, rolls, aggregation=aggregation)
    within = found.tv_all <= found.rounding
    assert within.mean() > 0.9  # the bound is an estimate from two images
    assert found.layer_names == layers


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_in_bfloat16_units_that_vary_as_in_float32_are_not_rounding(aggregation):
    torch.manual_seed(0)
    layers = [
        layer
        for inputs, outputs in [(3, 32), (32, 32), (32, 64), (64, 64), (64, 64)]
        for layer in (nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())
    ]
    images = torch.rand(24, 3, 16, 16)
    model = nn.Sequential(*layers)
    exact, found = (
        measure_variance(model, images, None, rotations(8), aggregation=aggregation, precision=precision)
        for precision in ("fp32", "bf16")
    )
    right = np.abs(found.tv_all - exact.tv_all) < 0.1 * exact.tv_all
    assert right.mean() > 0.9
    assert (found.tv_all <= found.rounding)[right].mean() < 0.1
