"""One-pass, mergeable sums that yield both variances of every class, and the standard errors of layer means."""

from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from operator import mul
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytorch.variance.fast.c_library import is_compiled
from pytorch.variance.fast.compiled_block import CompiledUnitBlock
from pytorch.variance.fast.fused_block import FusedUnitBlock
from pytorch.variance.fast.triton_import import kernels_for
from pytorch.variance.standard_errors import LayerErrors
from pytorch.variance.statistics.anova import f_statistic
from pytorch.variance.statistics.block import LayerSums, UnitBlock, blocks, part_sizes, shape_of_blocks
from pytorch.variance.statistics.influence import ErrorSums
from pytorch.variance.statistics.moments import Groups


class VarianceAccumulator:
    """Transformation and sample variance of U units in L layers, over T transformations and any number of samples.

    For every batch, call ``begin`` with its labels, ``add`` with the activations under each transformation in turn, and
    ``end``. The state is (2 T + 1)·K·U numbers and the current batch 5·B·U. If C transformations are processed at once,
    C·B·U activations are buffered. Memory does not grow with the number of samples. ``merge_shard`` adds those of
    separate sets of samples.

    Attributes:
        labels: Label of each row of the state, in order of first appearance, sorted within a batch.
        counts: Number of samples of each label, (K,) int64 on the CPU.
        layers: Number of units of each layer.
        arguments: Arguments that make an accumulator to merge with, besides labels and device.

    Args:
        transformations: Number of transformations, T; at least 2.
        layers: Number of units of each layer, U in total.
        dispersion: ``"std"`` or ``"variance"``, both with ddof = 1.
        labels: Labels to reserve rows for at the start; other labels get rows when they first appear.
        device: Device of the state.
        wholes: Layers that each global mean averages over; None: one global mean, over all layers.
        batch: Usual batch size, B; blocks of units are sized to suit it.
        classes: Expected number of labels, K, if known.
        shape: Number of units per block, and of transformations processed at once; None: suited to the device,
            ``batch`` and ``classes``.
    """

    def __init__(
        self,
        transformations: int,
        layers: list[int],
        dispersion: str = "std",
        labels: Iterable[int] = (),
        device: torch.device | str = "cpu",
        wholes: list[list[int]] | None = None,
        batch: int = 64,
        classes: int = 1,
        shape: tuple[int, int] | None = None,
    ) -> None:
        self.labels: list[int] = []
        self.counts = torch.zeros(0, dtype=torch.int64)
        self.layers = layers
        self._units = torch.tensor([layers], dtype=torch.float64, device=device)
        self._device = device
        self._transformations = transformations
        width, at_once = shape or shape_of_blocks(sum(layers), batch, torch.device(device).type, classes)
        at_once = min(at_once, transformations)
        self._blocks = self._blocks_of(dispersion, width, at_once)
        wholes = [list(range(len(layers)))] if wholes is None else wholes
        self.arguments = {
            "transformations": transformations, "layers": list(layers), "dispersion": dispersion,
            "wholes": [*map(list, wholes)], "shape": (width, at_once),
        }  # fmt: skip
        self._wholes = [torch.tensor(members, dtype=torch.int64, device=device) for members in wholes]
        columns = len(layers) + len(wholes)
        self._errors_all = ErrorSums(4 * columns, device)  # TV, SV, NV, and the bias of NV
        self._errors_all.append(1)
        self._errors_classes = ErrorSums(6 * columns, device)  # and the last two over units with an NV in every class
        self._reserve(list(labels))

    def _blocks_of(self, dispersion: str, width: int, at_once: int) -> list[UnitBlock]:
        """Split the unit axis into blocks."""
        kind, parts = kind_of_blocks(self._device), blocks(self.layers, width)
        return [kind(self._transformations, part, dispersion, self._device, at_once) for part in parts]

    def begin(self, labels: Tensor) -> None:
        """Start a batch.

        Args:
            labels: Class of each sample, (B,) integers.
        """
        values = labels.tolist()
        self._reserve(values)
        row_of = {label: row for row, label in enumerate(self.labels)}
        rows = torch.tensor([row_of[value] for value in values])
        self._groups = Groups.of(rows, self.counts, self._device)
        self._everyone = self._groups if len(self.labels) == 1 else self._groups.as_one()
        self._kind: torch.dtype | None = None
        self._steps = 0
        for block in self._blocks:
            block.begin(self._groups, self._everyone)

    def add(self, activations: Tensor) -> None:
        """Add the activations of the batch under the next transformation.

        Args:
            activations: (B, U), with the same dtype under every transformation.

        Raises:
            ValueError: Shape or dtype differs, so values would be broadcast or rounded; or no transformation is left.
        """
        if self._steps == self._transformations:
            raise ValueError(f"the batch was already added under all {self._steps} transformations")
        widths = [block.units for block in self._blocks]
        shape, kind = (len(self._groups.members), sum(widths)), self._kind or activations.dtype
        if activations.shape != shape or activations.dtype != kind:
            found = f"{activations.dtype} {tuple(activations.shape)}"
            raise ValueError(f"activations are {found}, not {kind} {shape} as labels, layers and earlier steps require")
        self._kind = kind
        self._steps += 1
        for block, values in zip(self._blocks, activations.split(widths, dim=1), strict=True):
            block.add(values)

    def end(self) -> None:
        """Close the batch: add the dispersion and the influences of each sample to the sums of its class.

        Raises:
            ValueError: The batch was not added under every transformation.
        """
        if self._steps < self._transformations:
            raise ValueError(f"the batch was added under {self._steps} of {self._transformations} transformations")
        groups = self._groups
        self.counts[groups.present] += groups.sizes
        counts = self._float_counts()
        strata = self.in_strata().nonzero().flatten().to(self._device, non_blocking=True)
        total = self._sums_over_blocks([block.end(counts, strata) for block in self._blocks])
        in_all, in_class, in_every = total.finite
        units = [self._units, self._units, in_all, self._units, self._units, groups.spread(in_class), in_every]
        parts = [*zip(total.first, units, strict=True), *zip(total.second, total.finite, strict=True)]
        sums, units = (torch.cat(rows) for rows in zip(*starmap(torch.broadcast_tensors, parts), strict=True))
        means = self._means(sums, units)
        *first, second, second_of_class, second_in_every = means.split([len(part) for part, _ in parts])
        squares = [part.square_() for part in first]
        of_all = torch.cat(squares[:3], dim=1).sum(dim=0, keepdim=True)
        self._errors_all.add(torch.cat([of_all, second], dim=1), self._everyone)
        of_class = groups.sum(torch.cat(squares[3:], dim=1))
        self._errors_classes.add(torch.cat([of_class, second_of_class, second_in_every], dim=1), groups)

    def _sums_over_blocks(self, blocks: list[LayerSums]) -> LayerSums:
        """Add the layer sums of all blocks."""
        if len(blocks) == 1 and len(self._blocks[0].layers) == len(self.layers):
            return blocks[0]

        def add(kind: str) -> list[Tensor]:
            totals = [part.new_zeros(len(part), len(self.layers)) for part in getattr(blocks[0], kind)]
            for block, sums in zip(self._blocks, blocks, strict=True):
                for total, part in zip(totals, getattr(sums, kind), strict=True):
                    total.index_add_(1, block.layers, part)
            return totals

        return LayerSums(add("first"), add("second"), add("finite"))

    def _means(self, sums: Tensor, units: Tensor) -> Tensor:
        """Means over the units of each layer, followed by means over the units of each whole.

        Args:
            sums: Sums over the units of each layer, (R, L).
            units: Number of units summed, (R, L).
        """
        of_layers = sums / units.clamp(min=1)
        # A product with a 0/1 matrix would let non-finite layers spoil wholes they do not belong to, as 0 · inf is NaN.
        sums, units = (
            torch.stack([values.index_select(1, members).sum(dim=1) for members in self._wholes], dim=1)
            for values in (sums, units)
        )
        return torch.cat([of_layers, sums / units.clamp(min=1)], dim=1)

    def tensors(self) -> Iterator[Tensor]:
        """The state, in a fixed order, without copies; ``state_shapes`` lists the shapes."""
        yield self.counts
        for part in (self._errors_all, self._errors_classes, *self._blocks):
            yield from part.tensors()

    def merge_shard(self, fill: Callable[[Tensor], Any], fewest: int) -> None:
        """Add the samples of an accumulator with the same arguments and labels, block by block.

        Args:
            fill: Function that fills a tensor with the next one of the other accumulator's ``tensors``.
            fewest: Minimum number of samples of a group in the shard to contribute to the errors of the group.
        """
        counts = torch.zeros_like(self.counts)
        fill(counts)
        self.counts += counts
        for mine in (self._errors_all, self._errors_classes, *self._blocks):
            its = mine.blank()
            for tensor in its.tensors():
                fill(tensor)
            if isinstance(its, ErrorSums):
                its.forget_few(fewest)
            mine.merge(its)

    def _reserve(self, labels: list[int]) -> None:
        """Add rows for new labels."""
        new = sorted(set(labels) - set(self.labels))
        if not new:
            return
        self.labels += new
        self.counts = torch.cat([self.counts, self.counts.new_zeros(len(new))])
        for part in (*self._blocks, self._errors_classes):
            part.append(len(new))

    def transformation_variance(self) -> tuple[np.ndarray, np.ndarray]:
        """TV: mean over samples of the dispersion over transformations.

        Returns:
            TV of all samples, (U,), and of each class in the order of ``labels``, (K, U); float64.
        """
        counts = self._float_counts()
        return _side_by_side(block.transformation_variance(counts) for block in self._blocks)

    def sample_variance(self) -> tuple[np.ndarray, np.ndarray]:
        """SV: mean over transformations of the dispersion over samples.

        Returns:
            As for ``transformation_variance``. NaN for a class with one sample, whose dispersion is undefined.
        """
        return _side_by_side(block.sample_variance() for block in self._blocks)

    def f_statistics(self) -> np.ndarray:
        """F for the hypothesis that the mean over all samples is the same under every transformation, (U,)."""
        samples = int(self.counts.sum())
        return torch.cat([f_statistic(*block.over_all_samples(), samples) for block in self._blocks]).cpu().numpy()

    def in_strata(self) -> Tensor:
        """Which rows are classes that stratified means include, (K,) bool on the CPU.

        A class needs at least two samples. Unlabelled samples count as a class only if there is no other.
        """
        labelled = torch.tensor([label >= 0 for label in self.labels], dtype=torch.bool)
        return (self.counts > 1) & (labelled | ~labelled.any())

    def constant_units(self) -> tuple[Tensor, Tensor]:
        """Count the units of each layer with TV = SV = 0, over all samples, (L,), and per class, (K, L); on the CPU."""
        totals = [torch.zeros(rows, len(self.layers), dtype=torch.float64) for rows in (1, len(self.labels))]
        for block in self._blocks:
            for total, part in zip(totals, block.constant_units(), strict=True):
                total.index_add_(1, block.layers.cpu(), part.cpu())
        return totals[0].squeeze(0), totals[1]

    def errors(self) -> LayerErrors:
        """Standard errors and biases of the layer means and global means so far."""
        columns = len(self.layers) + len(self._wholes)
        samples = self.counts.double().unsqueeze(1)
        of_all, of_classes = self._errors_all.means(), self._errors_classes.means()
        measurable = self.in_strata()
        squared = (of_classes[:, : 4 * columns] / (samples - 1)).reshape(-1, 4, columns)
        biases = (of_classes[:, 4 * columns :] / samples).reshape(-1, 2, columns)
        return LayerErrors(
            all=(of_all[0, : 3 * columns] / (samples.sum() - 1)).sqrt().reshape(3, columns).numpy(),
            classes=squared[:, :3].sqrt().numpy(),
            stratified=(squared[measurable, 3].sum(dim=0).sqrt() / measurable.sum()).numpy(),
            bias_all=(of_all[0, 3 * columns :] / samples.sum()).numpy(),
            bias_classes=biases[:, 0].numpy(),
            bias_stratified=biases[measurable, 1].mean(dim=0).numpy(),
        )

    def _float_counts(self) -> Tensor:
        return self.counts.double().unsqueeze(1).to(self._device, non_blocking=True)


def kind_of_blocks(device: torch.device | str) -> type[UnitBlock]:
    """Return the fastest kind of block on a device."""
    if kernels_for(device):
        return FusedUnitBlock
    return CompiledUnitBlock if torch.device(device).type == "cpu" and is_compiled() else UnitBlock


def state_shapes(
    transformations: int,
    layers: list[int],
    wholes: list[list[int]],
    shape: tuple[int, int],
    classes: int,
    positions: list[int] | None = None,
) -> Iterator[tuple[int, ...]]:
    """Shapes of the ``tensors`` of an accumulator made with these arguments, in order, without allocating any."""
    yield (classes,)
    columns = len(layers) + len(wholes)
    for rows, width in ((1, 4 * columns), (classes, 6 * columns)):
        yield from ((2, rows, width), (2, rows), (rows,))
    if positions is None:
        widths = [sum(count for _, count in block) for block in blocks(layers, shape[0])]
        sizes = part_sizes(transformations, shape[1])
    else:
        widths, sizes = [*map(mul, layers, positions)], [1] * transformations
    for units in widths:
        for size in sizes:
            yield from ((classes, 1), (classes, size * units), (classes, size * units))
        yield (classes, units)
    if positions is not None:
        yield (len(layers),)


def _side_by_side(parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    of_all, of_classes = zip(*parts, strict=True)
    return torch.cat(of_all, dim=1).squeeze(0).cpu().numpy(), torch.cat(of_classes, dim=1).cpu().numpy()
