"""Sums of a batch over samples and over transformations.

Samples are processed group by group. ``order`` (B,) int64 sorts them by group; ``starts`` (G + 1,) int64 is the start
of each group in that order, and the end of the last.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pytorch.variance.fast.kernels.reading import launch

USUAL = {"samples": 8, "tile": 32, "num_warps": 4}
"""Samples and units per step of a program, and its warps (tuned on an H200)."""

FEW = {"samples": 4, "tile": 32, "num_warps": 1}
"""The same, for kernels that do little work per value."""


def sums_over_samples(values: Tensor, centres: Tensor, order: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Sum deviations from the centre of the group, and their squares, over the samples of each group.

    Args:
        values: Observations, (B, W) float32 or float64.
        centres: Centre of each group, (G, W) float64.
        order: Sample order, (B,) int64; see the module docstring.
        starts: Group starts, (G + 1,) int64; see the module docstring.

    Returns:
        Both sums, each (G, W) float64.
    """
    sums, squares = torch.empty_like(centres), torch.empty_like(centres)
    groups, width = centres.shape
    grid = triton.cdiv(width, FEW["tile"]), groups
    launch(_sums_over_samples, grid, values, centres, order, starts, sums, squares, width, **FEW)
    return sums, squares


def sums_over_steps(
    values: Tensor, first: Tensor, order: Tensor, starts: Tensor, about: list[tuple[Tensor, Tensor]],
    sums: Tensor, squares: Tensor, scaled: list[Tensor], *, overwrite: bool,
) -> list[Tensor]:  # fmt: skip
    """Add the sums over C transformations to those over earlier transformations.

    Args:
        values: Activations, (B, C, U) float32 or float64.
        first: Activations under the very first transformation, (B, U).
        order: Sample order, (B,) int64; see the module docstring.
        starts: Group starts, (G + 1,) int64; see the module docstring.
        about: Means over samples, float64, and scales, float32; for each group, (G, C·U), and all samples, (1, C·U).
        sums: Sums of deviations from ``first``, (B, U) float64.
        squares: Sums of their squares, (B, U) float64.
        scaled: Sums of squared deviations from these means times the squared scales, two tensors (B, U) float32.
        overwrite: Whether these are the first transformations, so that earlier contents are overwritten.

    Returns:
        For each entry of ``about``, those products squared, times the squared scales, summed over transformations and
        over the samples of each group, (G, U) float32.
    """
    _, steps, units = values.shape
    groups = len(starts) - 1
    fourths = [torch.empty(groups, units, dtype=torch.float32, device=values.device) for _ in about]
    grid = triton.cdiv(units, USUAL["tile"]), groups
    (class_means, class_scales), (means, scales) = about
    launch(
        _sums_over_steps, grid,
        values, first, order, starts, class_means, class_scales, means, scales, sums, squares, *scaled, *fourths,
        steps, units, overwrite=overwrite, **USUAL,
    )  # fmt: skip
    return fourths


def dispersions(
    sums: Tensor, squares: Tensor, steps: int, kind: str, order: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the dispersion of each sample over the transformations, and sum it over the samples of each group.

    Args:
        sums: Result of ``sums_over_steps``, (B, U) float64; overwritten.
        squares: Result of ``sums_over_steps``, (B, U) float64.
        steps: Number of transformations, T.
        kind: ``"std"`` or ``"variance"``.
        order: Sample order, (B,) int64; see the module docstring.
        starts: Group starts, (G + 1,) int64; see the module docstring.

    Returns:
        Dispersion of each sample, (B, U), and its sums, (G, U); float64.
    """
    groups, units = len(starts) - 1, sums.shape[1]
    of_groups = sums.new_empty(groups, units)
    grid = triton.cdiv(units, USUAL["tile"]), groups
    arguments = sums, squares, of_groups, order, starts, steps, units
    launch(_dispersions, grid, *arguments, is_std=kind == "std", **USUAL)
    return sums, of_groups


@triton.jit
def samples_of_group(order, start, end, inside, samples: tl.constexpr):
    """The next samples of a group, and a mask of the samples and units that exist."""
    place = start + tl.arange(0, samples)
    sample = tl.load(order + place, mask=place < end, other=0)
    return sample, (place < end)[:, None] & inside[None, :]


@triton.jit
def _sums_over_samples(
    values, centres, order, starts, sums, squares, width, samples: tl.constexpr, tile: tl.constexpr
):  # fmt: skip
    group = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    inside = column < width
    centre = tl.load(centres + group * width + column, mask=inside, other=0.0)
    total = tl.zeros((samples, tile), tl.float64)
    total_of_squares = tl.zeros((samples, tile), tl.float64)
    end = tl.load(starts + group + 1)
    for start in range(tl.load(starts + group), end, samples):
        sample, here = samples_of_group(order, start, end, inside, samples)
        read = tl.load(values + sample[:, None] * width + column[None, :], mask=here, other=0.0).to(tl.float64)
        deviation = tl.where(here, read - centre[None, :], 0.0)
        total += deviation
        total_of_squares += deviation * deviation
    where = group * width + column
    tl.store(sums + where, tl.sum(total, axis=0), mask=inside)
    tl.store(squares + where, tl.sum(total_of_squares, axis=0), mask=inside)


@triton.jit
def _squares_about(read, mean, scale, here):
    deviation = (read - mean[None, :]).to(tl.float32) * scale[None, :]
    return tl.where(here, deviation * deviation, 0.0)


@triton.jit
def _sums_over_steps(
    values, firsts, order, starts, class_means, class_scales, means, scales,
    sums, squares, class_squares, all_squares, class_fourths, all_fourths, steps, units,
    overwrite: tl.constexpr, samples: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1).to(tl.int64)
    unit = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    inside = unit < units
    class_fourth = tl.zeros((samples, tile), tl.float32)
    all_fourth = tl.zeros((samples, tile), tl.float32)
    end = tl.load(starts + group + 1)
    for start in range(tl.load(starts + group), end, samples):
        sample, here = samples_of_group(order, start, end, inside, samples)
        where = sample[:, None] * units + unit[None, :]
        first = tl.load(firsts + where, mask=here, other=0.0).to(tl.float64)
        if overwrite:
            total = tl.zeros((samples, tile), tl.float64)
            total_of_squares = tl.zeros((samples, tile), tl.float64)
            about_class = tl.zeros((samples, tile), tl.float32)
            about_all = tl.zeros((samples, tile), tl.float32)
        else:
            total = tl.load(sums + where, mask=here, other=0.0)
            total_of_squares = tl.load(squares + where, mask=here, other=0.0)
            about_class = tl.load(class_squares + where, mask=here, other=0.0)
            about_all = tl.load(all_squares + where, mask=here, other=0.0)
        rows = values + sample[:, None] * steps * units + unit[None, :]
        for step in range(steps):
            read = tl.load(rows + step * units, mask=here, other=0.0).to(tl.float64)
            deviation = read - first
            total += deviation
            total_of_squares += deviation * deviation
            column = step * units + unit
            of_class = group * steps * units + column
            scale = tl.load(class_scales + of_class, mask=inside, other=0.0)
            square = _squares_about(read, tl.load(class_means + of_class, mask=inside, other=0.0), scale, here)
            about_class += square
            square *= scale[None, :]  # before squaring: the scale may be large and the other factor small
            class_fourth += square * square
            scale = tl.load(scales + column, mask=inside, other=0.0)
            square = _squares_about(read, tl.load(means + column, mask=inside, other=0.0), scale, here)
            about_all += square
            square *= scale[None, :]
            all_fourth += square * square
        tl.store(sums + where, total, mask=here)
        tl.store(squares + where, total_of_squares, mask=here)
        tl.store(class_squares + where, about_class, mask=here)
        tl.store(all_squares + where, about_all, mask=here)
    where = group * units + unit
    tl.store(class_fourths + where, tl.sum(class_fourth, axis=0), mask=inside)
    tl.store(all_fourths + where, tl.sum(all_fourth, axis=0), mask=inside)


@triton.jit
def _dispersions(
    sums, squares, of_groups, order, starts, steps, units,
    is_std: tl.constexpr, samples: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1).to(tl.int64)
    unit = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    inside = unit < units
    added = tl.zeros((samples, tile), tl.float64)
    end = tl.load(starts + group + 1)
    for start in range(tl.load(starts + group), end, samples):
        sample, here = samples_of_group(order, start, end, inside, samples)
        where = sample[:, None] * units + unit[None, :]
        total = tl.load(sums + where, mask=here, other=0.0)
        m2 = tl.load(squares + where, mask=here, other=0.0) - total * total / steps
        dispersion = tl.where(m2 < 0, 0.0, m2) / (steps - 1)
        if is_std:
            dispersion = tl.sqrt(dispersion)
        tl.store(sums + where, dispersion, mask=here)
        added += dispersion
    tl.store(of_groups + group * units + unit, tl.sum(added, axis=0), mask=inside)
