"""Reading in C, and the library in C: what it reads is what PyTorch operations read."""

import math
import os

import numpy as np
import pytest
import torch
from builders import assert_alike, table
from torch import nn

from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.fast import c_library, reader
from pytorch.variance.fast.compiled_block import CompiledUnitBlock
from pytorch.variance.fast.compiled_reading import CompiledReading
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.statistics import accumulator as accumulator_module
from pytorch.variance.statistics import block
from pytorch.variance.statistics.accumulator import VarianceAccumulator
from pytorch.variance.statistics.block import UnitBlock, shape_of_blocks

pytestmark = pytest.mark.skipif(not c_library.is_compiled(), reason="no C compiler")


@pytest.mark.parametrize("dispersion", ["std", "variance"])
@pytest.mark.parametrize("classes", [1, 3])
def test_those_of_turned_back_maps_equal_operations(monkeypatch, dispersion, classes):
    values, labels = table(40, 3, 2 * 4 + 5), torch.arange(40) ** 2 % classes
    found = {}
    for kind in (CompiledUnitBlock, UnitBlock):
        monkeypatch.setattr(accumulator_module, "is_compiled", lambda kind=kind: kind is CompiledUnitBlock)
        sums = MapAccumulator(3, [2, 5], [4, 1], dispersion=dispersion)
        assert all(isinstance(block, CompiledUnitBlock) == (kind is CompiledUnitBlock) for block in sums._blocks)
        for part, some in zip(values.split(30), labels.split(30), strict=True):
            sums.begin(some)
            for step in range(3):
                sums.add(part[:, step].split([8, 5], dim=1))
            sums.end()
        exact = *sums.transformation_variance(), *sums.sample_variance(), sums.relative_errors(), sums.largest_means()
        found[kind] = exact, vars(sums.errors()).values()
    assert_alike(*found.values())


def test_a_class_without_samples_is_no_reference():
    """Its means are 0: the weighted mean of the others, taken from there, would be rounded."""
    found = VarianceAccumulator(2, [50], labels=[77])
    found.begin(torch.arange(40) % 7)
    for _ in range(2):
        found.add(table(1, 50).expand(40, 50).contiguous())
    dispersion = found._blocks[0]._of_all.dispersion
    found.end()
    assert not dispersion.any()
    assert not found.sample_variance()[0].any()


def test_a_library_is_compiled_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert c_library.c_library.__wrapped__(torch.float32)
    monkeypatch.setattr(c_library, "_compile", None)
    assert c_library.c_library.__wrapped__(torch.float32)


@pytest.mark.parametrize("missing", ["compiler", "working compiler", "folder", "home", "wish"])
def test_without_it_operations_do(monkeypatch, tmp_path, missing):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if missing == "wish":
        monkeypatch.setenv(c_library.SWITCH, "0")
    elif missing == "home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    elif missing == "folder":
        (tmp_path / "variance-experiments").write_text("a file")
    else:
        monkeypatch.setenv("CC", "false" if missing == "working compiler" else "no-such-compiler")
    monkeypatch.setattr(c_library, "c_library", c_library.c_library.__wrapped__)
    for module in (accumulator_module, block):
        monkeypatch.setattr(module, "is_compiled", c_library.is_compiled)
    assert {type(each) for each in VarianceAccumulator(2, [20])._blocks} == {UnitBlock}
    assert shape_of_blocks(16_000, 64, "cpu") == (1024, 8)
    assert shape_of_blocks(1_000_000, 4, "cpu") == (8192, 1)


def test_blocks_for_it_are_wide():
    assert shape_of_blocks(16_000, 64, "cpu") == (2**16, 4)
    assert shape_of_blocks(1_000_000, 64, "cpu") == (2**16, 1)


def read_positions(activation, axes, outs):
    """Write the positions of one activation; return whether that was possible."""
    reading = CompiledReading.of(activation, axes, outs)
    if reading is not None:
        reading.read(activation)
    return reading is not None


LAYOUTS = {
    "channels last": lambda: (table(3, 301, 5, 41).to(memory_format=torch.channels_last), (2, 3)),
    "channels first": lambda: (table(3, 70, 15, 29), (2, 3)),
    "one position": lambda: (table(3, 70, 1, 1), (2, 3)),
    "one channel": lambda: (table(3, 1, 200, 50), (2, 3)),
    "volumes": lambda: (table(3, 7, 4, 5, 6), (2, 3, 4)),
    "tokens": lambda: (table(3, 17, 70), (1,)),
    "windows": lambda: (table(3, 4, 5, 70), (1, 2)),
    "sequences": lambda: (table(3, 70, 17), (2,)),
    "heads": lambda: (table(3, 4, 17, 6), (3,)),
    "small maps": lambda: (table(3, 300, 3, 3), (2, 3)),
    "the smallest maps that are read along": lambda: (table(3, 300, 4, 8), (2, 3)),
    "no positions": lambda: (table(3, 700), ()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("hows", [("mean", "max"), ("max",), ("sum",)])
def test_positions_are_read(layout, kind, hows):
    activation, axes = LAYOUTS[layout]()
    activation = activation.to(kind)
    units = math.prod(size for axis, size in enumerate(activation.shape) if axis not in (0, *axes))
    rows = torch.full((3, 2, units), torch.nan, dtype=kind)
    assert read_positions(activation, axes, {how: rows[:, place] for place, how in enumerate(hows)})
    for place, how in enumerate(hows):
        values = activation.double().permute(0, *set(range(1, activation.ndim)) - {*axes}, *axes)
        values = values.reshape(3, units, -1)  # the positions last
        exact = values.amax(2) if how == "max" else values.sum(2)
        within = {torch.float32: 1e-6, torch.float64: 1e-14}[kind] * values.abs().sum(2).max().item()
        torch.testing.assert_close(rows[:, place].double(), exact.flatten(1), rtol=0, atol=within)


@pytest.mark.parametrize("layout", ["channels last", "channels first"])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_readings_hide_nothing_that_is_not_finite(layout, odd):
    activation, axes = LAYOUTS[layout]()
    activation[0, 3, 1, 2] = odd
    activation[1, 4] = float("-inf")
    activation[2, 5, 0, 0], activation[2, 5, 0, 1] = float("nan"), 7
    outs = {how: torch.empty(activation.shape[:2], dtype=torch.float64) for how in ("sum", "max")}
    assert read_positions(activation, axes, outs)
    torch.testing.assert_close(outs["sum"], activation.sum(axes), equal_nan=True)
    torch.testing.assert_close(outs["max"], activation.amax(axes), equal_nan=True)


@pytest.mark.parametrize(("shape", "axes"), [((1, 1, 2**22), (2,)), ((1, 2**22, 3), (1,))])
def test_long_sums_of_single_precision_are_exact_enough(shape, axes):
    """Added one after another, even in 16 rows at once, they would be off by 1e-4."""
    activation = torch.full(shape, 0.1)
    out = torch.empty(1, activation.numel() // 2**22)
    assert read_positions(activation, axes, {"sum": out})
    np.testing.assert_allclose(out.double(), activation.double().sum(axes), rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "axes"),
    [
        (torch.zeros(2, 3, 4, 5)[..., ::2], (2, 3)),
        (torch.zeros(2, 3, 4, 5), (1, 3)),
        (torch.zeros(2, 3, 4, 5), (2,)),
        (torch.zeros(2, 3, 4, 5, dtype=torch.int32), (2, 3)),
        (torch.zeros(2, 3, 4, 5, dtype=torch.bfloat16), (2, 3)),
        (torch.zeros(2, 3, 0, 5), (2, 3)),
        (torch._neg_view(torch.ones(2, 3, 4, 5)), (2, 3)),
    ],
)
def test_what_it_does_not_read_is_left_to_operations(activation, axes):
    assert not read_positions(activation, axes, {"sum": torch.empty(2, 3)})


@pytest.mark.parametrize("aggregation", ["mean", "max", "mean,max", "sum", "max,none"])
def test_layers_are_read_as_by_operations(monkeypatch, aggregation):
    """In either order of memory; the mean of the batch norm follows from another, its maximum is read."""
    original, read = CompiledReading.read, []
    monkeypatch.setattr(CompiledReading, "read", lambda *given: read.append(original(*given)))
    network = nn.Sequential(nn.Conv2d(1, 9, 3), nn.BatchNorm2d(9), nn.SiLU()).double().eval()
    network[1].weight.data, network[1].bias.data = table(2, 9)
    for form in (torch.contiguous_format, torch.channels_last):
        images = table(2, 1, 40, 40)
        found = []
        for compiled in (True, False):
            monkeypatch.setattr(reader, "is_compiled", lambda compiled=compiled: compiled)
            with ActivationRecorder(network.to(memory_format=form), aggregation) as recorder:
                found += [recorder(images).clone(), recorder(images + 1).clone()]
        torch.testing.assert_close(found[:2], found[2:], rtol=1e-13, atol=1e-13)
    assert len(read) >= 8


def test_activations_that_lie_otherwise_in_a_later_pass_are_read_as_they_lie():
    """A network may return another order of memory, slices of a larger array, or batches of another size."""

    class Turned(nn.Module):
        def forward(self, images):
            return self.turn(images * 1)

    turns = [
        lambda x: x,
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: torch.cat([x, x], 3)[..., :7],
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: x.expand(x.shape),
        lambda x: torch._neg_view(-x),
    ]
    images = table(4, 6, 5, 7)
    network = Turned()
    with ActivationRecorder(network, ["mean", "max"]) as recorder:
        for batch in (images, images[:3]):
            for network.turn in turns + turns[::-1]:
                expected = torch.cat([batch.mean((2, 3)), batch.amax((2, 3))], 1)
                torch.testing.assert_close(recorder(batch), expected, rtol=1e-14, atol=1e-14)


def test_the_type_of_the_memory_decides_too():
    assert not read_positions(torch.zeros(2, 3, 4, 5), (2, 3), {"sum": torch.empty(2, 3, dtype=torch.float64)})
