"""Feature maps become units: the same by whatever way, fast or not."""

import pytest
import torch

from pytorch.variance.recording import aggregation
from pytorch.variance.recording.aggregation import reduce

# Channels of 32 and fewer are read by torch.sum, more of them, side by side, by poolings.
SHAPES = [
    (3, 32, 8, 8), (3, 33, 8, 8), (2, 64, 32, 32), (2, 96, 7, 5), (1, 40, 3, 200), (2, 40, 129, 1), (2, 40, 1, 129),
    (2, 64, 3, 5), (2, 64, 4, 4), (2, 64, 1, 1), (2, 48, 37, 11),
]  # fmt: skip
FORMATS = [torch.channels_last, torch.contiguous_format]


def reduced(how, maps, kind):
    row = torch.full((len(maps), maps.shape[1] + 5), -7, dtype=kind)  # units are a stretch of a wider row
    reduce(how, maps, (2, 3), kind, row[:, 2:-3])
    assert (row[:, :2] == -7).all()
    assert (row[:, -3:] == -7).all()
    return row[:, 2:-3]


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_sum_is_exact_to_the_last_digits(shape, dtype, memory_format):
    """Of positive values, to 4e-7 of it in float32: a sum in sequence over 1024 positions is off by 2e-6."""
    torch.manual_seed(0)
    maps = (torch.rand(shape, dtype=torch.float64) + 5).to(dtype).contiguous(memory_format=memory_format)
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    exact = maps.double().sum((2, 3))
    torch.testing.assert_close(
        reduced("sum", maps, kind).double(), exact, atol=0, rtol=1e-14 if kind == torch.float64 else 4e-7
    )


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_maximum_is_exact(shape, dtype, memory_format):
    torch.manual_seed(0)
    maps = (torch.randn(shape) - 9).to(dtype).contiguous(memory_format=memory_format)
    maps[0, 0] = -torch.inf
    maps[0, 1, -1, -1] = torch.inf
    maps[-1, 2, -1, 0] = torch.nan
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    expected = maps.flatten(2).amax(2).to(kind)
    assert expected[-1, 2].isnan()
    torch.testing.assert_close(reduced("max", maps, kind), expected, rtol=0, atol=0, equal_nan=True)


def test_what_is_not_finite_stays_so_in_a_sum():
    maps = torch.rand(2, 64, 9, 9).contiguous(memory_format=torch.channels_last)
    maps[0, 3, 8, 8], maps[1, 5, 0, 0] = torch.inf, torch.nan
    found = reduced("sum", maps, torch.float32)
    assert found[0, 3] == torch.inf
    assert found[1, 5].isnan()
    assert found.isfinite().sum() == found.numel() - 2


@pytest.mark.parametrize(("how", "pooling"), [("sum", "avg_pool2d"), ("max", "max_pool2d")])
def test_many_channels_side_by_side_are_read_in_order(monkeypatch, how, pooling):
    """It is what makes it fast, and is not to get lost."""
    original, seen = getattr(aggregation.F, pooling), []

    def watched(maps, *arguments, **options):
        seen.append(tuple(maps.shape))
        return original(maps, *arguments, **options)

    monkeypatch.setattr(aggregation.F, pooling, watched)
    for shape in SHAPES:
        for memory_format in FORMATS:
            reduced(how, torch.rand(shape).contiguous(memory_format=memory_format), torch.float32)
    assert seen == [(3, 33, 8, 8), (2, 64, 32, 32), (2, 96, 7, 5), (1, 40, 3, 200), (2, 40, 129, 1), (2, 40, 1, 129),
                    (2, 64, 4, 4), (2, 48, 37, 11)]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bool], ids=str)
def test_other_types_are_reduced_as_well(dtype):
    maps = torch.randint(0, 2, (2, 64, 6, 6)).to(dtype).contiguous(memory_format=torch.channels_last)
    assert torch.equal(reduced("max", maps, torch.float32), maps.float().amax((2, 3)))
    assert torch.equal(reduced("sum", maps, torch.float32), maps.float().sum((2, 3)))
