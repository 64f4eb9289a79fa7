"""Shards, measured apart and merged, equal the whole: in one process and in two."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from oracle import add_shard
from torch import nn

from pytorch.transformations import rotations
from pytorch.variance import measure_variance
from pytorch.variance.statistics import accumulator as accumulator_module
from pytorch.variance.statistics.accumulator import VarianceAccumulator

STEPS, LAYERS = 3, [2, 3]
TABLE = torch.randn(20, STEPS, sum(LAYERS), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([4, 4, 4, 1, 1, 1, 1, 1, 0, 0, 0, 1, 4, 0, 0, 4, 1, 0, 9, 9])


def accumulate(start, stop, batch=3):
    accumulator = VarianceAccumulator(STEPS, LAYERS, labels=[0, 1, 4, 9])
    for first in range(start, stop, batch):
        part = slice(first, min(first + batch, stop))
        accumulator.begin(LABELS[part])
        for step in range(STEPS):
            accumulator.add(TABLE[part, step])
        accumulator.end()
    return accumulator


def in_another_process(connection, start, stop):
    connection.send_bytes(pickle.dumps(accumulate(start, stop)))
    connection.close()


def assert_same(found, expected):
    """Equal for all samples and for each class, in whichever order the classes were met."""
    assert sorted(found.labels) == sorted(expected.labels)
    rows, expected_rows = (np.argsort(accumulator.labels) for accumulator in (found, expected))
    for quantity in ("transformation_variance", "sample_variance"):
        of_all, of_classes = getattr(found, quantity)()
        expected_of_all, expected_of_classes = getattr(expected, quantity)()
        np.testing.assert_allclose(of_all, expected_of_all, rtol=1e-12)
        np.testing.assert_allclose(of_classes[rows], expected_of_classes[expected_rows], rtol=1e-12)


@pytest.mark.parametrize("cut", [0, 3, 8, 19, 20])
def test_merged_shards_equal_the_whole(cut):
    """Shards that lack classes of each other, and an empty one."""
    merged = accumulate(0, cut)
    add_shard(merged, accumulate(cut, 20))
    assert_same(merged, accumulate(0, 20))


@pytest.mark.parametrize("scale", [1e-25, 1, 1e25])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_float32_activations_have_float64_sums(scale, offset):
    """The squares of small and of large activations exceed the range of float32. Most activations are equal."""
    table = torch.randn(64, 4, 200, generator=torch.Generator().manual_seed(0)).sub_(1.3).relu_()
    table = (table + offset) * scale
    accumulator = VarianceAccumulator(4, [200])
    for batch, labels in zip(table.split(32), (torch.arange(64) % 2).split(32), strict=True):
        accumulator.begin(labels)
        for activations in batch.unbind(dim=1):
            accumulator.add(activations)
        accumulator.end()
    values = table.double().numpy()
    for group, members in (("all", slice(None)), (0, slice(0, None, 2)), (1, slice(1, None, 2))):
        for found, axis in ((accumulator.transformation_variance(), 1), (accumulator.sample_variance(), 0)):
            part = found[0] if group == "all" else found[1][group]
            np.testing.assert_allclose(part, values[members].std(axis=axis, ddof=1).mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
@pytest.mark.parametrize("width", [1, 2, 4, 5, 100])
def test_units_and_transformations_may_be_taken_together_as_one_likes(monkeypatch, width, at_once):
    """One, one and then two, or all three transformations at once, of one to five units."""
    expected = accumulate(0, 20, batch=7)
    monkeypatch.setattr(accumulator_module, "shape_of_blocks", lambda *arguments: (width, at_once))
    found = accumulate(0, 20, batch=7)
    assert_same(found, expected)
    for part, expected_part in zip(vars(found.errors()).values(), vars(expected.errors()).values(), strict=True):
        np.testing.assert_allclose(part, expected_part, rtol=1e-5)


def test_a_batch_that_is_broken_off_leaves_no_activations_behind(monkeypatch):
    monkeypatch.setattr(accumulator_module, "shape_of_blocks", lambda *arguments: (5, STEPS))
    accumulator = VarianceAccumulator(STEPS, LAYERS)
    accumulator.begin(LABELS[:7])
    accumulator.add(TABLE[:7, 0])
    accumulator.begin(LABELS)
    for step in range(STEPS):
        accumulator.add(TABLE[:, step])
    accumulator.end()
    assert_same(accumulator, accumulate(0, 20, batch=20))


@pytest.mark.parametrize(
    "wrong",
    [TABLE[:1, 1], TABLE[:4, 1], TABLE[:7, 1, :1], TABLE[:7, 1, [0, 1, 2, 3, 4, 4]], TABLE[:7, 1].float()],
    ids=["one sample", "some samples", "one unit", "more units", "shorter type"],
)
def test_what_does_not_fit_the_batch_is_refused(wrong):
    """PyTorch would repeat the one, and round the other."""
    accumulator = VarianceAccumulator(STEPS, LAYERS)
    accumulator.begin(LABELS[:7])
    accumulator.add(TABLE[:7, 0])
    with pytest.raises(ValueError, match=r"activations are torch.float.*, not torch.float64 \(7, 5\)"):
        accumulator.add(wrong)
    accumulator.add(TABLE[:7, 1])


def test_a_batch_is_added_under_every_transformation_once():
    accumulator = VarianceAccumulator(STEPS, LAYERS)
    accumulator.begin(LABELS)
    for step in range(STEPS):
        with pytest.raises(ValueError, match=f"under {step} of 3 transformations"):
            accumulator.end()
        accumulator.add(TABLE[:, step])
    with pytest.raises(ValueError, match="under all 3 transformations"):
        accumulator.add(TABLE[:, 0])
    accumulator.end()
    assert_same(accumulator, accumulate(0, 20, batch=20))


def test_blocks_are_cut_for_the_first_batch(monkeypatch):
    sizes = []

    def shape(units, batch, device, classes):
        sizes.append(batch)
        return units, 1

    monkeypatch.setattr(accumulator_module, "shape_of_blocks", shape)
    inputs = torch.rand(23, 1, 4, 4)
    measure_variance(nn.Conv2d(1, 2, 3), inputs, None, rotations(2), batch_size=9)
    assert sizes == [8]  # 23 in batches of at most 9, as equal as can be: 8, 8, 7


def test_two_processes_equal_one():
    context = multiprocessing.get_context("spawn")
    shards = []
    for start, stop in ((0, 9), (9, 20)):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=in_another_process, args=(sender, start, stop))
        process.start()
        sender.close()  # so that a process that fails is noticed, not waited for
        shards.append(pickle.loads(receiver.recv_bytes()))
        process.join()
        assert process.exitcode == 0
    add_shard(*shards)
    assert_same(shards[0], accumulate(0, 20))
