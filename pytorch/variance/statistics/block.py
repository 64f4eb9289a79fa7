"""Statistics of a block of adjacent units; the accumulator splits its unit axis into such blocks."""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from pytorch.variance.fast.c_library import is_compiled
from pytorch.variance.fast.triton_import import kernels_for
from pytorch.variance.statistics.influence import Expansion, SquaredDeviations, by_layer, influences, stacked_sum
from pytorch.variance.statistics.moments import DISPERSIONS, Groups, Moments, with_more_rows

VALUES_AT_ONCE = 2**19
"""Activations per operation. On a CPU, a few arrays of this size fit into the cache; with smaller ones, the overhead of
each call would matter."""

NARROW_BLOCK = 2**16
"""Activations of a batch, under one transformation, in a block that processes several transformations at once. The
state of each sample is then read from memory once for all of them. Narrower blocks would leave the end of a batch too
little work per operation."""

WAITING = 2**24
"""Maximum number of activations buffered to process several transformations at once."""

FEW_SAMPLES = 64
"""Smallest batch size assumed: even for small batches, the state has a row per class, as wide as the block."""

CUDA_BLOCK, CUDA_UNITS_AT_ONCE = 2**17, 2**15
"""Units per block, and units up to which PyTorch operations process several transformations at once. CUDA prefers few,
large operations."""

COMPILED_BLOCK, COMPILED_WAITING = 2**16, 2**22
"""Units per block, and maximum number of activations buffered for functions in C. They split a block themselves."""

CUDA_WAITING = 2**28
"""Maximum number of activations buffered for CUDA kernels, which work best on all transformations at once. It also
limits the means over samples, of all classes, that are computed together."""


def shape_of_blocks(units: int, batch: int, device: str, classes: int = 1) -> tuple[int, int]:
    """Choose the size of the blocks of units.

    Args:
        units: Total number of units, U.
        batch: Batch size, B.
        device: Device type.
        classes: Number of classes, K, as far as known.

    Returns:
        Number of units per block, and number of transformations processed at once, C.
    """
    if device != "cpu":
        at_once = CUDA_WAITING // (max(batch, classes) * units) if kernels_for(device) else CUDA_UNITS_AT_ONCE // units
        return CUDA_BLOCK, max(1, at_once)
    if is_compiled():
        return COMPILED_BLOCK, max(1, COMPILED_WAITING // (batch * units))
    batch = max(batch, FEW_SAMPLES)
    per_sample = max(1, VALUES_AT_ONCE // batch)
    width = min(per_sample, max(1, NARROW_BLOCK // batch, units * per_sample * batch // WAITING))
    return width, max(1, per_sample // min(units, width))


def blocks(layers: list[int], width: int) -> list[list[tuple[int, int]]]:
    """Split a row of layers into blocks of ``width`` units; the last block may be smaller.

    Args:
        layers: Number of units of each layer.
        width: Number of units per block.

    Returns:
        Layers with units in each block: (index of the layer, number of its units in the block).

    >>> blocks([3, 4, 2], width=5)
    [[(0, 3), (1, 2)], [(1, 2), (2, 2)]]
    """
    cut: list[list[tuple[int, int]]] = []
    room = 0
    for layer, units in enumerate(layers):
        while units:
            if not room:
                cut.append([])
                room = width
            count = min(units, room)
            cut[-1].append((layer, count))
            units -= count
            room -= count
    return cut


def part_sizes(transformations: int, at_once: int) -> list[int]:
    """Split the transformations into nearly equal parts of at most ``at_once``.

    >>> part_sizes(16, 5)
    [4, 4, 4, 4]
    """
    parts = -(-transformations // at_once)
    return [(transformations + part) // parts for part in range(parts)]


@dataclass(frozen=True)
class LayerSums:
    """Sums over the units of each of L layers.

    Attributes:
        first: Influence of each sample of the batch, seven tensors (B, L): on TV, SV and NV of all samples; on TV, SV
            and NV of its class; and on NV of its class, over units with an NV in every class.
        second: Second-order part of the influence on NV, summed over samples: for all samples, (1, L); and for each
            class of the batch, twice (G, L), over units with an NV in that class and in every class.
        finite: Number of units with an NV: over all samples, (1, L); in each class of the batch, (G, L); and in every
            class, (1, L).
    """

    first: list[Tensor]
    second: list[Tensor]
    finite: list[Tensor]


class UnitBlock:
    """Moments of U units over samples and over transformations; called like the accumulator.

    Attributes:
        units: Number of units, U.
        layers: Indices of the layers with units in the block, (L,) int64.
        over_samples: Moments over samples, one entry per C transformations processed at once; each has a row per class
            and their units side by side, (K, C·U).
        dispersion_sum: Sum over samples of their dispersion over transformations, (K, U) float64.

    Args:
        transformations: Number of transformations, T.
        layers: For each layer in the block, its index and its number of units in the block.
        dispersion: A key of ``DISPERSIONS``.
        device: Device of the state.
        at_once: Maximum number of transformations processed at once, C. The T transformations are split into nearly
            equal parts, each processed when complete.
    """

    def __init__(
        self,
        transformations: int,
        layers: list[tuple[int, int]],
        dispersion: str,
        device: torch.device | str,
        at_once: int = 1,
    ) -> None:
        self.layers = torch.tensor([layer for layer, _ in layers], device=device)
        self._widths = [units for _, units in layers]
        self.units = sum(self._widths)
        self._transformations = transformations
        self._part_sizes = part_sizes(transformations, at_once)
        self.over_samples = [Moments.empty(0, size * self.units, device) for size in self._part_sizes]
        self.dispersion_sum = torch.zeros(0, self.units, dtype=torch.float64, device=device)
        self._has_ratio = torch.zeros(0, self.units, dtype=torch.bool, device=device)
        self._dispersion = dispersion

    def append(self, rows: int) -> None:
        """Add rows for more classes."""
        for moments in self.over_samples:
            moments.append(rows)
        self.dispersion_sum = with_more_rows(self.dispersion_sum, rows)
        self._has_ratio = with_more_rows(self._has_ratio, rows)

    def begin(self, groups: Groups, everyone: Groups) -> None:
        """Start a batch, with its samples grouped by class (``groups``) and as a single group (``everyone``).

        With only one class, ``everyone`` is ``groups`` itself.
        """
        self._groups, self._everyone = groups, everyone
        self._next = self._arrived = 0
        self._waiting: Tensor | None = None
        options = self._transformations, self.units, self._dispersion
        self._of_class = SquaredDeviations(groups, *options)
        self._of_all = self._of_class if everyone is groups else SquaredDeviations(everyone, *options)

    def add(self, activations: Tensor) -> None:
        """Add the activations of the batch under the next transformation, (B, U)."""
        if self._arrived == 0:
            self._waiting = activations.new_empty(len(activations), self._part_sizes[self._next], self.units)
        self._waiting[:, self._arrived] = activations  # copied, as the caller reuses the memory
        self._arrived += 1
        if self._arrived == self._part_sizes[self._next]:
            self._take()
            self._arrived = 0
            self._next += 1

    def _take(self) -> None:
        """Process the buffered activations, those under the next C transformations."""
        values = self._waiting.double()
        self._waiting = None
        self._add_over_transformations(values)
        self._add_over_samples(values.flatten(1))

    def _add_over_transformations(self, values: Tensor) -> None:
        """Add activations under the next C transformations, (B, C, U)."""
        if self._next == 0:
            self._first = values[:, :1].clone()
            self._sum, self._squares = (values.new_zeros(len(values), self.units) for _ in range(2))
        # Squared deviations from one of a sample's own observations sum to at most T times m2.
        deviations = values - self._first
        self._sum += stacked_sum(deviations.flatten(1), self.units)
        self._squares += stacked_sum(deviations.square_().flatten(1), self.units)

    def _add_over_samples(self, values: Tensor) -> None:
        """Add activations under the next C transformations, side by side, (B, C·U)."""
        moments = self.over_samples[self._next]
        update = moments.update(values, self._groups)
        self._of_class.add(update, self._groups, update.moments)
        if self._of_all is not self._of_class:
            self._of_all.add(update, self._groups, moments.pooled())

    def end(self, counts: Tensor, strata: Tensor) -> LayerSums:
        """Close the batch.

        Args:
            counts: Number of samples of each class, including the batch, (K, 1) float64.
            strata: Rows of the classes that the stratified NV averages.

        Returns:
            Sums over the units of each layer, from which the standard errors follow.
        """
        dispersion, of_groups = self._dispersions()
        self.dispersion_sum.index_add_(0, self._groups.rows, of_groups)
        here = self._groups.rows
        tv_all, tv = self.transformation_variance(counts)
        of_all = of_class = Expansion.of(self._of_all, tv_all, self._dispersion)
        if self._of_all is not self._of_class:
            of_class = Expansion.of(self._of_class, tv[here], self._dispersion)
        self._has_ratio[here] = of_class.has_ratio
        in_every = self._has_ratio[strata].all(dim=0, keepdim=True)
        first, second = self._influences(dispersion, of_class, of_all, in_every)
        second.append(second[-1] * in_every)
        finite = of_all.has_ratio, of_class.has_ratio, in_every
        return LayerSums(first, *([self._by_layer(part) for part in parts] for parts in (second, finite)))

    def _dispersions(self) -> tuple[Tensor, Tensor]:
        """Dispersion of each sample over the transformations, (B, U), and its sum over each group, (G, U)."""
        steps = self._transformations
        m2 = self._squares.addcmul_(self._sum, self._sum, value=-1 / steps).clamp_(min=0)
        dispersion = DISPERSIONS[self._dispersion](m2.div_(steps - 1))
        return dispersion, self._groups.sum(dispersion)

    def squares_over_transformations(self) -> Tensor:
        """Squared deviations of each sample from its mean over the transformations, summed over the batch, (U,).

        To be called after the last transformation of the batch and before ``end``.
        """
        return (self._squares - self._sum.square() / self._transformations).clamp_(min=0).sum(dim=0)

    def over_all_samples(self) -> tuple[Tensor, Tensor]:
        """Mean over all samples under each transformation, and m2, both (T, U)."""
        pooled = ((moments.mean, moments.m2) for moments in map(Moments.pooled, self.over_samples))
        return tuple(torch.cat(parts, dim=1).view(-1, self.units) for parts in zip(*pooled, strict=True))

    def _influences(
        self, dispersion: Tensor, of_class: Expansion, of_all: Expansion, in_every: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Sum the influences of the batch.

        Returns:
            ``LayerSums.first``; and the second-order parts, per unit instead of per layer: over all samples, (1, U),
            and for each class, (G, U).
        """
        on_all, second_all = influences(dispersion, self._of_all.sum, of_all, self._everyone)
        of_all_samples = [self._by_layer(part) for part in on_all]
        if of_class is of_all:
            on_class, second, of_classes = on_all, second_all, of_all_samples
        else:
            on_class, second = influences(dispersion, self._of_class.sum, of_class, self._groups)
            of_classes = [self._by_layer(part) for part in on_class]
        in_strata = self._by_layer(on_class[-1] * in_every)
        return [*of_all_samples, *of_classes, in_strata], [second_all, second]

    def _by_layer(self, values: Tensor) -> Tensor:
        """Sum (R, U) over the units of each layer, giving (R, L) float64."""
        return by_layer(values.double(), self._widths)

    def tensors(self) -> Iterator[Tensor]:
        """The sums from which TV and SV follow, in a fixed order."""
        for moments in self.over_samples:
            yield from (moments.count, moments.mean, moments.m2)
        yield self.dispersion_sum

    def blank(self) -> "UnitBlock":
        """A block without samples, of the same units and as many classes."""
        other = copy(self)
        rows, device = len(self.dispersion_sum), self.dispersion_sum.device
        other.over_samples = [Moments.empty(rows, part.mean.shape[1], device) for part in self.over_samples]
        other.dispersion_sum = torch.zeros_like(self.dispersion_sum)
        other._has_ratio = torch.zeros_like(self._has_ratio)
        return other

    def merge(self, other: "UnitBlock") -> None:
        """Add the samples of ``other``, of the same units and classes."""
        for mine, its in zip(self.over_samples, other.over_samples, strict=True):
            mine.merge(its)
        self.dispersion_sum += other.dispersion_sum
        self._has_ratio |= other._has_ratio

    def transformation_variance(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """TV of all samples, (1, U), and of each class, (K, U); ``counts`` as for ``end``."""
        of_all = self.dispersion_sum.sum(dim=0, keepdim=True) / counts.sum()
        return of_all, self.dispersion_sum / counts

    def sample_variance(self) -> tuple[Tensor, Tensor]:
        """SV of all samples, (1, U), and of each class, (K, U)."""

        def mean(moments: Iterable[Moments]) -> Tensor:
            dispersions = (part.dispersion(self._dispersion) for part in moments)
            return sum(stacked_sum(part, self.units) for part in dispersions) / self._transformations

        return mean(moments.pooled() for moments in self.over_samples), mean(self.over_samples)

    def constant_units(self) -> tuple[Tensor, Tensor]:
        """Number of units of each layer with TV = SV = 0, over all samples, (1, L), and in each class, (K, L)."""
        tv, (sv_all, sv) = self.dispersion_sum, self.sample_variance()
        constant_all = (tv.sum(dim=0, keepdim=True) == 0) & (sv_all == 0)
        constant = (tv == 0) & (sv == 0)
        return by_layer(constant_all.double(), self._widths), by_layer(constant.double(), self._widths)
