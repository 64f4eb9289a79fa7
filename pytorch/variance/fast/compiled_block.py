"""Statistics of a block of units on a CPU, by functions in C."""

import ctypes
from functools import cached_property

import torch
from torch import Tensor

from pytorch.variance.fast.c_library import c_library
from pytorch.variance.statistics.block import LayerSums, UnitBlock
from pytorch.variance.statistics.influence import Expansion
from pytorch.variance.statistics.moments import starts_of

LONGEST_PART = 1024
"""Units of a layer that one thread adds up."""


class Batch(ctypes.Structure):
    """``Batch`` of ``statistics.c``."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in (
            "values", "first", "sums", "squares", "order", "starts", "rows", "counts", "means", "m2s", "of_class",
            "of_all", "sv_class", "sv_all", "fourth_class", "fourth_all",
        )]
        + [(name, ctypes.c_int64) for name in ("stride", "samples", "at_once", "steps", "units", "classes", "groups")]
        + [(name, ctypes.c_int32) for name in ("is_first", "is_std", "threads")]
    )  # fmt: skip


class Point(ctypes.Structure):
    """``Point`` of ``statistics.c``."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("tv", "centre", "inverse", "nv", "known"))

    @classmethod
    def of(cls, expansion: Expansion) -> "Point":
        """Point to the fields of an expansion, which must outlive it."""
        return cls(*(getattr(expansion, name).data_ptr() for name, _ in cls._fields_))


class CompiledUnitBlock(UnitBlock):
    """A ``UnitBlock`` whose sums are computed by functions in C, which read each activation from memory once.

    The arguments are the same.
    """

    @cached_property
    def _parts(self) -> tuple[Tensor, Tensor]:
        """Start of each part of a layer, and end of the last; and the layer of each part, as an index in the block."""
        sizes = [
            (layer, size)
            for layer, width in enumerate(self._widths)
            for size in [LONGEST_PART] * (width // LONGEST_PART) + [width % LONGEST_PART]
            if size
        ]
        layers, lengths = (torch.tensor(values) for values in zip(*sizes, strict=True))
        return starts_of(lengths), layers

    def add(self, activations: Tensor) -> None:
        """Add the activations of the batch under the next transformation, (B, U)."""
        if self._part_sizes[self._next] > 1 or activations.stride(1) != 1:
            super().add(activations)
            return
        self._waiting = activations.unsqueeze(1)  # taken at once, it need not be copied
        self._take()
        self._next += 1

    def _take(self) -> None:
        values, self._waiting = self._waiting, None
        if self._next == 0:
            self._start_sums(values)
        moments = self.over_samples[self._next]
        counts = moments.count.clone()
        moments.count.index_add_(0, self._groups.rows, self._groups.counts)
        batch = self._batch
        batch.values, batch.stride, batch.at_once = values.data_ptr(), values.stride(0), values.shape[1]
        batch.is_first = self._next == 0
        batch.means, batch.m2s, batch.counts = (part.data_ptr() for part in (moments.mean, moments.m2, counts))
        batch.classes = len(counts)
        self._library().take(ctypes.byref(batch), _pointer(moments.count))

    def _start_sums(self, values: Tensor) -> None:
        """Make the arrays that the batch is summed into."""
        samples, units, groups = len(values), self.units, len(self._groups.rows)
        self._first, self._sum = values.new_empty(samples, units), torch.empty(samples, units, dtype=torch.float64)
        self._squares = torch.empty_like(self._sum)
        pairs = [(self._of_class, groups)] + [(self._of_all, 1)] * (self._of_all is not self._of_class)
        for squares, rows in pairs:
            squares.sum = torch.empty(samples, units)
            squares.dispersion = torch.zeros(rows, units, dtype=torch.float64)
            squares.fourth = torch.zeros(rows, units)
        is_one = self._of_all is self._of_class
        order, starts = self._groups.by_row
        self._batch = Batch(
            first=self._first.data_ptr(), sums=self._sum.data_ptr(), squares=self._squares.data_ptr(),
            order=order.data_ptr(), starts=starts.data_ptr(), rows=self._groups.rows.data_ptr(),
            of_class=self._of_class.sum.data_ptr(), of_all=None if is_one else self._of_all.sum.data_ptr(),
            sv_class=self._of_class.dispersion.data_ptr(), sv_all=self._of_all.dispersion.data_ptr(),
            fourth_class=self._of_class.fourth.data_ptr(), fourth_all=self._of_all.fourth.data_ptr(),
            samples=samples, steps=self._transformations, units=units, groups=groups,
            is_std=self._dispersion == "std", threads=torch.get_num_threads(),
        )  # fmt: skip

    def _library(self) -> ctypes.CDLL:
        return c_library(self._first.dtype)

    def end(self, counts: Tensor, strata: Tensor) -> LayerSums:
        """Close the batch, as in ``UnitBlock``."""
        sums = super().end(counts, strata)
        del self._batch  # accumulators are pickled, pointers cannot be
        return sums

    def _dispersions(self) -> tuple[Tensor, Tensor]:
        of_groups = self._sum.new_empty(len(self._groups.rows), self.units)
        self._library().dispersions(ctypes.byref(self._batch), _pointer(of_groups))
        return self._sum, of_groups

    def _influences(
        self, dispersion: Tensor, of_class: Expansion, of_all: Expansion, in_every: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        starts, layers = self._parts
        sums = dispersion.new_empty(7, len(dispersion), len(layers))
        products = [torch.zeros_like(about.tv) for about in (of_class, of_all)]
        self._library().influences(
            ctypes.byref(self._batch), ctypes.byref(Point.of(of_class)), ctypes.byref(Point.of(of_all)),
            *map(_pointer, (in_every, self._groups.members, starts)), ctypes.c_int64(len(layers)),
            *map(_pointer, (sums, *products)),
        )  # fmt: skip
        if of_all is of_class:
            sums[:3], products[1] = sums[3:6], products[0]
        first = sums.new_zeros(7, len(dispersion), len(self._widths)).index_add_(2, layers, sums)
        return list(first), [of_all.second(products[1]), of_class.second(products[0])]

    def _by_layer(self, values: Tensor) -> Tensor:
        starts, layers = self._parts
        values = values.double().contiguous()
        sums = values.new_empty(len(values), len(layers))
        rows, units, count = (ctypes.c_int64(number) for number in (*values.shape, len(layers)))
        threads = ctypes.c_int32(torch.get_num_threads())
        self._library().sums_of_parts(_pointer(values), rows, units, _pointer(starts), count, _pointer(sums), threads)
        return sums.new_zeros(len(values), len(self._widths)).index_add_(1, layers, sums)


def _pointer(values: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.data_ptr())
