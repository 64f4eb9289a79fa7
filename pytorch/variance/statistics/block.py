"""The statistics of some units that lie side by side: what the accumulator keeps for each stretch of its unit axis."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytorch.variance.fast.triton_import import kernels_for
from pytorch.variance.statistics.influence import Expansion, SquaredDeviations, by_layer, influences, stacked_sum
from pytorch.variance.statistics.moments import DISPERSIONS, Groups, Moments, with_more_rows

VALUES_AT_ONCE = 2**19
"""Activations that an operation takes in: on a CPU a few arrays of so many stay in its cache, and of fewer the start of
an operation would count."""

NARROW_BLOCK = 2**16
"""Activations of a batch under one transformation in a block that takes several at once: what is kept of each sample
then comes from memory once for all of them. In narrower blocks the end of a batch would do too little at a time."""

WAITING = 2**24
"""Activations that wait until several transformations are taken at once, at most."""

FEW_SAMPLES = 64
"""Samples that a batch is taken to have at least: the state has a row for each class, as wide as the others."""

CUDA_BLOCK, CUDA_UNITS_AT_ONCE = 2**17, 2**15
"""Units of a block, and up to how many of them operations of PyTorch take several transformations at once; CUDA wants
few and large ones."""

CUDA_WAITING = 2**28
"""Activations that wait at most for the kernels of CUDA, which take best all transformations at once; and means over
samples, of all classes, that are computed together."""


def shape_of_blocks(units: int, batch: int, device: str, classes: int = 1) -> tuple[int, int]:
    """Choose how the units are cut into blocks.

    Args:
        units: U, of all blocks together.
        batch: B.
        device: Its type.
        classes: K, as far as they are known.

    Returns:
        Units of a block, and C, how many transformations are taken at once.

    >>> shape_of_blocks(300, 64, "cpu"), shape_of_blocks(16_000, 64, "cpu"), shape_of_blocks(16_000, 256, "cpu")
    ((1024, 27), (1024, 8), (500, 4))
    >>> shape_of_blocks(1_000_000, 4, "cpu")
    (8192, 1)
    """
    if device != "cpu":
        together = CUDA_WAITING // (max(batch, classes) * units) if kernels_for(device) else CUDA_UNITS_AT_ONCE // units
        return CUDA_BLOCK, max(1, together)
    batch = max(batch, FEW_SAMPLES)
    of_a_sample = max(1, VALUES_AT_ONCE // batch)
    width = min(of_a_sample, max(1, NARROW_BLOCK // batch, units * of_a_sample * batch // WAITING))
    return width, max(1, of_a_sample // min(units, width))


def blocks(layers: list[int], width: int) -> list[list[tuple[int, int]]]:
    """Cut a row of layers into blocks of ``width`` units; the last one may be shorter.

    Args:
        layers: Units of each layer.
        width: Of a block.

    Returns:
        For each block the layers it has units of: (index of the layer, number of units).

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
            taken = min(units, room)
            cut[-1].append((layer, taken))
            units -= taken
            room -= taken
    return cut


@dataclass(frozen=True)
class LayerSums:
    """Sums over the units of each of L layers.

    Attributes:
        first: The influence of each sample of the batch, seven times (B, L): on TV, SV and NV of all samples, on those
            of its class, and on the NV of its class over the units that have one in every class.
        second: Its second-order part, summed over the samples: (1, L) of all, and twice (G, L), of each class of the
            batch, over the units that have an NV in that class, and in every class.
        finite: The number of units that have an NV: over all samples (1, L), in each class of the batch (G, L), in
            every class (1, L).
    """

    first: list[Tensor]
    second: list[Tensor]
    finite: list[Tensor]


class UnitBlock:
    """Moments of U units over samples and over transformations; fed as the accumulator is.

    Attributes:
        units: U.
        layers: (L,) int64, the layers that the block has units of.
        over_samples: The moments over samples, a row per class: of as many transformations as are taken at once, side
            by side, (K, C·U), for all of them in turn.
        dispersion_sum: (K, U) float64, the sum over samples of their dispersion over the transformations.

    Args:
        transformations: T.
        layers: For each of its layers the index and the number of units that the block has of it.
        dispersion: A key of ``DISPERSIONS``.
        device: Where the state lives.
        at_once: C; the transformations are taken in nearly equal parts of at most so many, each once it is complete.
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
        parts = -(-transformations // at_once)
        self._taken = [(transformations + part) // parts for part in range(parts)]
        self.over_samples = [Moments.empty(0, taken * self.units, device) for taken in self._taken]
        self.dispersion_sum = torch.zeros(0, self.units, dtype=torch.float64, device=device)
        self._has_ratio = torch.zeros(0, self.units, dtype=torch.bool, device=device)
        self._dispersion = dispersion

    def append(self, rows: int) -> None:
        """Make room for more classes."""
        for moments in self.over_samples:
            moments.append(rows)
        self.dispersion_sum = with_more_rows(self.dispersion_sum, rows)
        self._has_ratio = with_more_rows(self._has_ratio, rows)

    def begin(self, groups: Groups, everyone: Groups) -> None:
        """Open a batch, whose samples belong to the given rows of the state, and all together to one group.

        Where there is but one class, ``everyone`` is ``groups`` itself.
        """
        self._groups, self._everyone = groups, everyone
        self._next = self._arrived = 0
        self._waiting: Tensor | None = None
        self._of_class = SquaredDeviations(groups, self._transformations, self.units, self._dispersion)
        if everyone is groups:
            self._of_all = self._of_class
        else:
            self._of_all = SquaredDeviations(everyone, self._transformations, self.units, self._dispersion)

    def add(self, activations: Tensor) -> None:
        """Take in the activations of the batch under the next transformation, (B, U)."""
        if self._arrived == 0:
            self._waiting = activations.new_empty(len(activations), self._taken[self._next], self.units)
        self._waiting[:, self._arrived] = activations  # the memory is the caller's
        self._arrived += 1
        if self._arrived == self._taken[self._next]:
            self._take()
            self._arrived = 0
            self._next += 1

    def _take(self) -> None:
        """Take in what waits, the activations under the next C transformations."""
        values = self._waiting.double()
        self._waiting = None
        self._add_over_transformations(values)
        self._add_over_samples(values.flatten(1))

    def _add_over_transformations(self, values: Tensor) -> None:
        """Take in activations under the next C transformations, (B, C, U)."""
        if self._next == 0:
            self._first = values[:, :1].clone()
            self._sum, self._squares = (values.new_zeros(len(values), self.units) for _ in range(2))
        # Of deviations from an observation of the same sample, a sum of squares is at most T times m2.
        deviations = values - self._first
        self._sum += stacked_sum(deviations.flatten(1), self.units)
        self._squares += stacked_sum(deviations.square_().flatten(1), self.units)

    def _add_over_samples(self, values: Tensor) -> None:
        """Take in activations under the next transformations, side by side."""
        moments = self.over_samples[self._next]
        update = moments.update(values, self._groups)
        self._of_class.add(update, self._groups, update.moments)
        if self._of_all is not self._of_class:
            self._of_all.add(update, self._groups, moments.pooled())

    def end(self, counts: Tensor, strata: Tensor) -> LayerSums:
        """Close the batch.

        Args:
            counts: (K, 1) float64, the number of samples of each class, the batch included.
            strata: Rows of the classes that the stratified NV is the mean of.

        Returns:
            The sums that the error bars are made of, over the units of each layer.
        """
        dispersion, of_groups = self._dispersions()
        self.dispersion_sum.index_add_(0, self._groups.rows, of_groups)
        here = self._groups.rows
        tv_all, tv = self.transformation_variance(counts)
        of_all = Expansion.of(self._of_all, tv_all, self._dispersion)
        of_class = (
            of_all if self._of_all is self._of_class else Expansion.of(self._of_class, tv[here], self._dispersion)
        )
        self._has_ratio[here] = has_ratio(tv[here], self._of_class.dispersion)
        in_every = self._has_ratio[strata].all(dim=0, keepdim=True)
        first, second = self._influences(dispersion, of_class, of_all, in_every)
        second.append(second[-1] * in_every)
        finite = has_ratio(tv_all, self._of_all.dispersion), self._has_ratio[here], in_every
        return LayerSums(first, *([self._by_layer(part) for part in parts] for parts in (second, finite)))

    def _dispersions(self) -> tuple[Tensor, Tensor]:
        """The dispersion of each sample over the transformations, (B, U), and its sums over each group, (G, U)."""
        steps = self._transformations
        m2 = self._squares.addcmul_(self._sum, self._sum, value=-1 / steps).clamp_(min=0)
        dispersion = DISPERSIONS[self._dispersion](m2.div_(steps - 1))
        return dispersion, self._groups.sum(dispersion)

    def _influences(
        self, dispersion: Tensor, of_class: Expansion, of_all: Expansion, in_every: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Sums of influences of the batch.

        Returns:
            What ``LayerSums.first`` is; and their second-order parts, not by layers: over all samples (1, U), and of
            each class (G, U).
        """
        on_all = influences(dispersion, self._of_all.sum, of_all, self._everyone)
        on_class = influences(dispersion, self._of_class.sum, of_class, self._groups)
        first = *on_all.first, *on_class.first, on_class.first[-1] * in_every
        return [self._by_layer(part) for part in first], [on_all.second, on_class.second]

    def _by_layer(self, values: Tensor) -> Tensor:
        """Sum (R, U) over the units of each layer, (R, L) float64."""
        return by_layer(values.double(), self._widths)

    def merge(self, other: "UnitBlock", rows: list[int]) -> None:
        """Take in the samples of ``other``; ``rows`` are its classes' rows here."""
        here = torch.tensor(rows, dtype=torch.int64, device=self.dispersion_sum.device)
        for mine, its in zip(self.over_samples, other.over_samples, strict=True):
            part = mine.select(here)
            part.merge(its)
            mine.replace(here, part)
        self.dispersion_sum.index_add_(0, here, other.dispersion_sum)
        self._has_ratio[here] |= other._has_ratio

    def transformation_variance(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """TV of all samples (1, U) and of each class (K, U); ``counts`` as for ``end``."""
        of_all = self.dispersion_sum.sum(dim=0, keepdim=True) / counts.sum()
        return of_all, self.dispersion_sum / counts

    def sample_variance(self) -> tuple[Tensor, Tensor]:
        """SV of all samples (1, U) and of each class (K, U)."""

        def mean(moments: Iterable[Moments]) -> Tensor:
            dispersions = (part.dispersion(self._dispersion) for part in moments)
            return sum(stacked_sum(part, self.units) for part in dispersions) / self._transformations

        return mean(moments.pooled() for moments in self.over_samples), mean(self.over_samples)

    def constant_units(self) -> tuple[Tensor, Tensor]:
        """Number of units of each layer with TV = SV = 0, over all samples (1, L) and in each class (K, L)."""
        tv, (sv_all, sv) = self.dispersion_sum, self.sample_variance()
        constant_all = (tv.sum(dim=0, keepdim=True) == 0) & (sv_all == 0)
        constant = (tv == 0) & (sv == 0)
        return by_layer(constant_all.double(), self._widths), by_layer(constant.double(), self._widths)


def has_ratio(tv: Tensor, sv: Tensor) -> Tensor:
    """Where NV = TV / SV is a finite number, 0/0 = 1 included."""
    return torch.isfinite(tv / sv) | ((tv == 0) & (sv == 0))
