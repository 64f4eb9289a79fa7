"""Statistics of a block of units on CUDA, by kernels."""

import importlib
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor

from pytorch.variance.statistics.block import UnitBlock
from pytorch.variance.statistics.influence import Expansion
from pytorch.variance.statistics.moments import Moments, starts_of


class FusedUnitBlock(UnitBlock):
    """A ``UnitBlock`` whose sums are computed by kernels, which read each activation twice.

    A plain ``UnitBlock`` passes over memory about thirty times, which on a GPU takes longer than the forward pass of a
    network. The arguments are the same.
    """

    @cached_property
    def _layer_starts(self) -> Tensor:
        return starts_of(torch.tensor(self._widths), self.dispersion_sum.device)

    def _take(self) -> None:
        values, self._waiting = self._waiting, None
        if self._next == 0:
            self._first = values[:, 0].contiguous()
            self._sum, self._squares = (torch.empty_like(self._first, dtype=torch.float64) for _ in range(2))
            self._scaled = [torch.empty_like(self._first, dtype=torch.float32) for _ in range(2)]
        moments = self.over_samples[self._next]
        of_class = self._add_to(moments, values.flatten(1))
        about = [(of_class.mean, self._of_class.scales(of_class))]
        if self._of_all is self._of_class:
            about *= 2
        else:
            pooled = moments.pooled()
            about.append((pooled.mean, self._of_all.scales(pooled)))
        fourths = kernels().sums.sums_over_steps(
            values,
            self._first,
            *self._groups.by_row,
            about,
            self._sum,
            self._squares,
            self._scaled,
            overwrite=self._next == 0,
        )
        self._of_class.add_sums(self._scaled[0], fourths[0])
        if self._of_all is not self._of_class:
            self._of_all.add_sums(self._scaled[1], fourths[1].sum(dim=0, keepdim=True))

    def _add_to(self, moments: Moments, observations: Tensor) -> Moments:
        part = moments.opened(observations, self._groups)
        sums = kernels().sums.sums_over_samples(observations, part.mean, *self._groups.by_row)
        return moments.taken(part, *sums, self._groups)

    def _dispersions(self) -> tuple[Tensor, Tensor]:
        return kernels().sums.dispersions(
            self._sum, self._squares, self._transformations, self._dispersion, *self._groups.by_row
        )

    def _influences(
        self, dispersion: Tensor, of_class: Expansion, of_all: Expansion, in_every: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        about = [of_class, of_all]
        first = kernels().influences.influences_on_layers(
            dispersion, self._scaled, about, in_every, self._groups.members, self._layer_starts
        )
        on_class, on_all = kernels().influences.products_of_influences(
            dispersion, self._scaled, about, *self._groups.by_row
        )
        return list(first), [of_all.second(on_all.sum(dim=0, keepdim=True)), of_class.second(on_class)]

    def _by_layer(self, values: Tensor) -> Tensor:
        return kernels().influences.sums_of_layers(values, self._layer_starts)


def kernels() -> ModuleType:
    """Import the kernels late, as Triton may be missing."""
    return importlib.import_module("pytorch.variance.fast.kernels")
