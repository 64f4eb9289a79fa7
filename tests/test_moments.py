"""Moments against NumPy, however the stream is split."""

import numpy as np
import pytest
import torch

from pytorch.variance.statistics.moments import Groups, Moments

STREAM = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 100
GROUPS = torch.randint(0, 4, (40,), generator=torch.Generator().manual_seed(1))


def grouped(parts, stream=STREAM):
    """Moments of the groups of the stream, taken in part by part."""
    moments = Moments.empty(4, 6)
    for part in parts:
        moments.update(stream[part], Groups.of(GROUPS[part], moments.count.flatten()))
    return moments


def assert_same(found, expected):
    for name in ("count", "mean", "m2"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-11, atol=0)


@pytest.mark.parametrize("size", [1, 5, 7, 40])
def test_groups_equal_numpy(size):
    moments = grouped(torch.arange(40).split(size))
    for group in range(4):
        members = STREAM[group == GROUPS].numpy()
        assert moments.count[group].item() == len(members)
        np.testing.assert_allclose(moments.mean[group], members.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(moments.dispersion("std")[group], members.std(axis=0, ddof=1), rtol=1e-11)


@pytest.mark.parametrize("cut", [0, 1, 13, 40])
def test_merged_shards_equal_the_whole(cut):
    """Of any size, an empty shard included."""
    first, second = grouped([slice(0, cut)] if cut else []), grouped([slice(cut, 40)] if cut < 40 else [])
    first.merge(second)
    assert_same(first, grouped([slice(0, 40)]))


def test_pooled_groups_equal_the_stream():
    np.testing.assert_allclose(
        grouped([slice(0, 40)]).pooled().variance().squeeze(0), STREAM.numpy().var(axis=0, ddof=1), rtol=1e-12
    )


@pytest.mark.parametrize("offset", [1e8, -1e12])
def test_an_offset_costs_no_more_than_its_own_rounding(offset):
    shifted = STREAM + offset
    moments = grouped(torch.arange(40).split(9), shifted)
    for group in range(4):
        expected = shifted[group == GROUPS].numpy().var(axis=0, ddof=1)
        # Deviations of size 3 between numbers spaced offset · 2e-16 apart.
        np.testing.assert_allclose(moments.variance()[group], expected, rtol=abs(offset) * 1e-15)


def test_too_few_observations_are_undefined():
    moments = Moments.empty(1, 2)
    assert moments.variance().isnan().all()
    moments.update(torch.tensor([[1.0, 2.0]], dtype=torch.float64), Groups.of(torch.tensor([0]), torch.zeros(1)))
    assert moments.variance(ddof=1).isnan().all()
    assert (moments.variance(ddof=0) == 0).all()


def test_only_the_rows_of_a_batch_change():
    moments = grouped([slice(0, 40)])
    before = [part.clone() for part in (moments.count, moments.mean, moments.m2)]
    update = moments.update(STREAM[:3], Groups.of(torch.tensor([2, 0, 2]), moments.count.flatten()))
    for now, then in zip((moments.count, moments.mean, moments.m2), before, strict=True):
        assert torch.equal(now[[1, 3]], then[[1, 3]])
    torch.testing.assert_close(update.moments.mean, moments.mean[[0, 2]])
    torch.testing.assert_close(update.reference, before[1][[0, 2]])
    torch.testing.assert_close(update.deviations.double(), STREAM[:3] - before[1][[2, 0, 2]], rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [0.1, -1e9 / 3])
def test_a_constant_stream_has_no_spread_however_it_is_split_and_pooled(value):
    constant = torch.full_like(STREAM, value)
    for size in (1, 7, 40):
        moments = grouped(torch.arange(40).split(size), constant)
        assert (moments.m2 == 0).all()
        assert (moments.pooled().m2 == 0).all()
