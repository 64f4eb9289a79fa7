"""Influences of the samples of a batch, summed over the units of each layer and over samples.

``order`` and ``starts`` are as in ``sums``.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pytorch.variance.fast.kernels.reading import launch
from pytorch.variance.fast.kernels.sums import USUAL, samples_of_group
from pytorch.variance.statistics.influence import Expansion


def influences_on_layers(
    dispersion: Tensor, scaled: list[Tensor], expansions: list[Expansion], in_every: Tensor, members: Tensor,
    layer_starts: Tensor,
) -> Tensor:  # fmt: skip
    """Sum the influences of each sample over the units of each layer.

    Args:
        dispersion: Dispersion of each sample over the transformations, (B, U) float64.
        scaled: Two tensors (B, U) float32, as left by ``sums_over_steps``.
        expansions: Expansions about each group, (G, U), and about all samples, (1, U).
        in_every: Units that the last of the sums covers, (1, U) bool.
        members: Group of each sample, (B,) int64.
        layer_starts: First unit of each layer, and end of the last, (L + 1,) int64.

    Returns:
        ``pytorch.variance.statistics.block.LayerSums.first`` as one tensor, (7, B, L) float64.
    """
    (count, units), layers = dispersion.shape, len(layer_starts) - 1
    sums = dispersion.new_empty(7, count, layers)
    of_class, of_all = (_fields(expansion) for expansion in expansions)
    launch(
        _influences_on_layers, (triton.cdiv(count, USUAL["samples"]), layers),
        dispersion, *scaled, *of_class, *of_all, in_every, members, layer_starts, sums, count, units, layers, **USUAL,
    )  # fmt: skip
    return sums


def products_of_influences(
    dispersion: Tensor, scaled: list[Tensor], expansions: list[Expansion], order: Tensor, starts: Tensor
) -> list[Tensor]:
    """Sum relative influences on SV times influences on NV, over the samples of each group.

    The arguments are those of ``influences_on_layers``.

    Returns:
        Sums of influences about the group, and about all samples, each (G, U) float64.
    """
    groups, units = len(starts) - 1, dispersion.shape[1]
    products = [dispersion.new_empty(groups, units) for _ in expansions]
    of_class, of_all = (_fields(expansion) for expansion in expansions)
    grid = triton.cdiv(units, USUAL["tile"]), groups
    arguments = dispersion, *scaled, *of_class, *of_all, order, starts, *products, units
    launch(_products_of_influences, grid, *arguments, **USUAL)
    return products


def sums_of_layers(values: Tensor, layer_starts: Tensor) -> Tensor:
    """Sum (R, U), real numbers or booleans, over the units of each layer, giving (R, L) float64."""
    layers = len(layer_starts) - 1
    sums = torch.empty(len(values), layers, dtype=torch.float64, device=values.device)
    if sums.numel():
        arguments = values.contiguous(), layer_starts, sums, values.shape[1], layers
        launch(_sums_of_layers, (len(values), layers), *arguments, tile=256)
    return sums


def _fields(expansion: Expansion) -> tuple[Tensor, ...]:
    return expansion.tv, expansion.centre, expansion.inverse, expansion.nv, expansion.known


@triton.jit
def _influences(dispersion, square, tvs, centres, inverses, nvs, knowns, where, here):
    """Influences on TV and SV, relative influence on SV, and influence on NV, at these positions of the expansion."""
    inverse = tl.load(inverses + where, mask=here, other=0.0)
    on_tv = dispersion - tl.load(tvs + where, mask=here, other=0.0)
    on_sv = square.to(tl.float64) - tl.load(centres + where, mask=here, other=0.0)
    relative = on_sv * inverse
    on_nv = on_tv * inverse - relative * tl.load(nvs + where, mask=here, other=0.0)
    known = tl.load(knowns + where, mask=here, other=0) != 0
    return tl.where(here, on_tv, 0.0), tl.where(here, on_sv, 0.0), relative, tl.where(known, on_nv, 0.0)


@triton.jit
def _influences_on_layers(
    dispersions, class_squares, all_squares,
    class_tvs, class_centres, class_inverses, class_nvs, class_knowns, tvs, centres, inverses, nvs, knowns,
    in_every, members, layer_starts, sums, count, units, layers,
    samples: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(0).to(tl.int64) * samples + tl.arange(0, samples)
    layer = tl.program_id(1)
    present = sample < count
    member = tl.load(members + sample, mask=present, other=0)
    all_tv = tl.zeros((samples, tile), tl.float64)
    all_sv = tl.zeros((samples, tile), tl.float64)
    all_nv = tl.zeros((samples, tile), tl.float64)
    class_tv = tl.zeros((samples, tile), tl.float64)
    class_sv = tl.zeros((samples, tile), tl.float64)
    class_nv = tl.zeros((samples, tile), tl.float64)
    every_nv = tl.zeros((samples, tile), tl.float64)
    end = tl.load(layer_starts + layer + 1)
    for start in range(tl.load(layer_starts + layer), end, tile):
        unit = start + tl.arange(0, tile)
        here = present[:, None] & (unit < end)[None, :]
        where = sample[:, None] * units + unit[None, :]
        dispersion = tl.load(dispersions + where, mask=here, other=0.0)
        square = tl.load(all_squares + where, mask=here, other=0.0)
        place = tl.zeros((samples, tile), tl.int64) + unit[None, :]
        on_tv, on_sv, _, on_nv = _influences(dispersion, square, tvs, centres, inverses, nvs, knowns, place, here)
        all_tv += on_tv
        all_sv += on_sv
        all_nv += on_nv
        square = tl.load(class_squares + where, mask=here, other=0.0)
        place = member[:, None] * units + unit[None, :]
        on_tv, on_sv, _, on_nv = _influences(
            dispersion, square, class_tvs, class_centres, class_inverses, class_nvs, class_knowns, place, here
        )
        class_tv += on_tv
        class_sv += on_sv
        class_nv += on_nv
        wanted = tl.load(in_every + unit, mask=unit < end, other=0) != 0
        every_nv += tl.where(wanted[None, :], on_nv, 0.0)
    where = sums + sample * layers + layer
    step = tl.cast(count, tl.int64) * layers
    tl.store(where, tl.sum(all_tv, axis=1), mask=present)
    tl.store(where + step, tl.sum(all_sv, axis=1), mask=present)
    tl.store(where + 2 * step, tl.sum(all_nv, axis=1), mask=present)
    tl.store(where + 3 * step, tl.sum(class_tv, axis=1), mask=present)
    tl.store(where + 4 * step, tl.sum(class_sv, axis=1), mask=present)
    tl.store(where + 5 * step, tl.sum(class_nv, axis=1), mask=present)
    tl.store(where + 6 * step, tl.sum(every_nv, axis=1), mask=present)


@triton.jit
def _products_of_influences(
    dispersions, class_squares, all_squares,
    class_tvs, class_centres, class_inverses, class_nvs, class_knowns, tvs, centres, inverses, nvs, knowns,
    order, starts, class_products, all_products, units, samples: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1).to(tl.int64)
    unit = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    inside = unit < units
    of_class = tl.zeros((samples, tile), tl.float64)
    of_all = tl.zeros((samples, tile), tl.float64)
    end = tl.load(starts + group + 1)
    for start in range(tl.load(starts + group), end, samples):
        sample, here = samples_of_group(order, start, end, inside, samples)
        where = sample[:, None] * units + unit[None, :]
        dispersion = tl.load(dispersions + where, mask=here, other=0.0)
        square = tl.load(class_squares + where, mask=here, other=0.0)
        place = tl.zeros((samples, tile), tl.int64) + (group * units + unit)[None, :]
        _, _, relative, on_nv = _influences(
            dispersion, square, class_tvs, class_centres, class_inverses, class_nvs, class_knowns, place, here
        )
        of_class += relative * on_nv
        square = tl.load(all_squares + where, mask=here, other=0.0)
        place = tl.zeros((samples, tile), tl.int64) + unit[None, :]
        _, _, relative, on_nv = _influences(dispersion, square, tvs, centres, inverses, nvs, knowns, place, here)
        of_all += relative * on_nv
    where = group * units + unit
    tl.store(class_products + where, tl.sum(of_class, axis=0), mask=inside)
    tl.store(all_products + where, tl.sum(of_all, axis=0), mask=inside)


@triton.jit
def _sums_of_layers(values, layer_starts, sums, units, layers, tile: tl.constexpr):
    row, layer = tl.program_id(0).to(tl.int64), tl.program_id(1)
    end = tl.load(layer_starts + layer + 1)
    total = tl.zeros((tile,), tl.float64)
    for start in range(tl.load(layer_starts + layer), end, tile):
        unit = start + tl.arange(0, tile)
        total += tl.load(values + row * units + unit, mask=unit < end, other=0.0).to(tl.float64)
    tl.store(sums + row * layers + layer, tl.sum(total, axis=0))
