"""Statistics in C and by kernels: what they make is what PyTorch operations make, and what the definition says."""

import numpy as np
import pytest
import torch
from builders import assert_alike, table

from pytorch.variance.definition import variances
from pytorch.variance.fast.c_library import is_compiled
from pytorch.variance.fast.compiled_block import CompiledUnitBlock
from pytorch.variance.fast.fused_block import FusedUnitBlock
from pytorch.variance.statistics import accumulator as accumulator_module
from pytorch.variance.statistics.accumulator import VarianceAccumulator
from pytorch.variance.statistics.block import UnitBlock

ONLY_C = pytest.mark.parametrize("accumulated", ["C"], indirect=True)


@pytest.fixture(params=["C", "kernels"])
def accumulated(request, monkeypatch):
    """A function that accumulates activations fast, or by operations, and returns all that follows."""
    if request.param == "kernels":
        from working_kernels import DEVICE, kernels

        device, layers = DEVICE, [20, 1, 50]  # few: they may be interpreted
    elif is_compiled():
        kernels, device, layers = None, "cpu", [20, 1, 1250]  # the last one is added up in two parts
    else:
        pytest.skip("no C compiler")

    def run(fast, values, labels, dispersion="std", batch=30, at_once=2, width=1000):
        monkeypatch.setattr(accumulator_module, "kernels_for", lambda device: kernels if fast else None)
        monkeypatch.setattr(accumulator_module, "is_compiled", lambda: fast)
        found = VarianceAccumulator(
            values.shape[1], layers, dispersion, device=device, wholes=[[0, 2], [1]], shape=(width, at_once)
        )
        kind = (FusedUnitBlock if kernels else CompiledUnitBlock) if fast else UnitBlock
        assert {type(each) for each in found._blocks} == {kind}
        for part, some in zip(values.to(device).split(batch), labels.split(batch), strict=True):
            found.begin(some)
            for step in range(values.shape[1]):
                found.add(part[:, step])
            found.end()
        exact = *found.transformation_variance(), *found.sample_variance(), *(map(np.asarray, found.constant_units()))
        return exact, vars(found.errors()).values()

    run.units = sum(layers)
    return run


@pytest.mark.parametrize("dispersion", ["std", "variance"])
@pytest.mark.parametrize(("classes", "at_once", "width"), [(1, 3, 2000), (3, 1, 700), (3, 2, 2000), (11, 3, 64)])
def test_they_equal_operations(accumulated, dispersion, classes, at_once, width):
    """In batches that lack some of the classes, the last one smaller."""
    values, labels = table(40, 3, accumulated.units), torch.arange(40) ** 2 % classes
    options = {"dispersion": dispersion, "at_once": at_once, "width": width}
    assert_alike(accumulated(True, values, labels, **options), accumulated(False, values, labels, **options))


def test_statistics_of_single_precision_in_several_blocks(accumulated):
    values, labels = table(50, 2, accumulated.units).float() + 1000, torch.arange(50) % 4
    assert_alike(accumulated(True, values, labels, width=40), accumulated(False, values, labels))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_they_equal_the_definition(accumulated, kind):
    values, labels = (table(40, 3, accumulated.units) + 1000).to(kind), torch.arange(40) % 3
    (tv, tv_classes, sv, sv_classes, _, _), _ = accumulated(True, values, labels)
    for found, members in (((tv, sv), labels >= 0), ((tv_classes[1], sv_classes[1]), labels == 1)):
        expected = [variances(unit)[:2] for unit in values[members].double().numpy().transpose(2, 0, 1)]
        np.testing.assert_allclose(np.transpose(found), expected, rtol=1e-10)


def test_constant_units_are_constant_exactly(accumulated):
    values, labels = table(50, 2, accumulated.units).float() + 1000, torch.arange(50) % 4
    values[..., 5], values[..., 7], values[:, :, 9] = 0.1, values[:, :1, 7], values[:1, :, 9]
    values[labels == 2, :, 11] = values[:1, :, 11]  # a ratio in every class but this one
    (tv, _, sv, _, constant, _), _ = found = accumulated(True, values, labels)
    assert_alike(found, accumulated(False, values, labels))
    assert (tv[5], sv[5], tv[7], sv[9]) == (0, 0, 0, 0)
    assert constant[0] == 1


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is(accumulated, odd):
    values, labels = table(50, 2, accumulated.units), torch.arange(50) % 4
    values[4, 1, 15] = odd
    (tv, tv_classes, sv, _, _, _), _ = found = accumulated(True, values, labels)
    assert_alike(found, accumulated(False, values, labels))
    for of_units in (tv, sv, tv_classes[0]):
        assert np.flatnonzero(~np.isfinite(of_units)).tolist() == [15]
    assert np.isfinite(tv_classes[1:]).all()


@ONLY_C
def test_activations_that_are_not_adjacent_are_taken(accumulated):
    """One transformation at once is taken where it lies: as a part of rows, or along the other axis."""
    values, labels = table(9, 2, accumulated.units), torch.arange(9) % 2
    expected = accumulated(False, values, labels)
    wide = torch.cat([values, values], dim=2)[..., : accumulated.units]
    across = values.transpose(0, 2).contiguous().transpose(0, 2)
    for same in (wide, across):
        assert_alike(accumulated(True, same, labels, at_once=1, width=2000), expected)


@ONLY_C
def test_the_number_of_threads_changes_nothing(accumulated, monkeypatch):
    values, labels = table(40, 3, accumulated.units), torch.arange(40) % 3
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        exact, errors = accumulated(True, values, labels)
        found.append([*exact, *errors])
    for one, several in zip(*found, strict=True):
        np.testing.assert_array_equal(one, several)


def test_arguments_of_one_are_taken(accumulated):
    """Triton compiles numbers of 1 into a kernel."""
    values, labels = table(9, 2, accumulated.units), torch.arange(9) % 2
    assert_alike(accumulated(True, values, labels, batch=1), accumulated(False, values, labels, batch=1))


@pytest.mark.parametrize("tiny", [1e-40, 1e-30])
def test_tiny_activations_have_finite_errors(accumulated, tiny):
    values, labels = (table(9, 2, accumulated.units) * tiny).float(), torch.arange(9) % 2
    _, errors = accumulated(True, values, labels)
    assert all(np.isfinite(part).all() for part in errors)
