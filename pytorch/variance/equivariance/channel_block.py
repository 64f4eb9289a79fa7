"""Statistics of the turned-back maps of a layer, whose units are its channels."""

import torch
from torch import Tensor

from pytorch.variance.statistics.block import LayerSums, UnitBlock
from pytorch.variance.statistics.influence import SquaredDeviations
from pytorch.variance.statistics.moments import Groups, Moments


class ChannelBlock(UnitBlock):
    """A ``UnitBlock`` for the P positions of C channels, whose TV, SV and influences are means over the positions.

    There are so many positions that a ``UnitBlock``, all in float64, would take longer than the network. So the sums of
    a batch have the type of the activations. They are taken from one of the values of each position, so that in float32
    they are good to a relative 1e-6, about as good as the activations. Sums over batches are float64.

    Attributes:
        units: Number of values of a sample, P·C, position by position.

    Args:
        transformations: Number of transformations, T.
        layer: Index of the layer.
        positions: Number of positions, P.
        channels: Number of channels, C.
        dispersion: A key of ``DISPERSIONS``.
        device: Device of the state.
    """

    def __init__(
        self,
        transformations: int,
        layer: int,
        positions: int,
        channels: int,
        dispersion: str,
        device: torch.device | str,
    ) -> None:
        super().__init__(transformations, [(layer, positions * channels)], dispersion, device)
        self._widths = [channels]
        self._has_ratio = self._has_ratio.new_zeros(0, channels)

    def add(self, activations: Tensor) -> None:
        """Add the values of the batch under the next transformation, (B, P·C), which must not change before ``end``."""
        self._add_over_transformations(activations)
        self._add_over_samples(activations)
        self._next += 1

    def _add_over_transformations(self, values: Tensor) -> None:
        if self._next == 0:
            self._first = values
            return
        deviations = values - self._first
        if self._next == 1:
            self._sum, self._squares = deviations, deviations.square()
        else:
            self._sum += deviations
            self._squares.addcmul_(deviations, deviations)

    def _add_over_samples(self, values: Tensor) -> None:
        """Add the values to the moments over samples, as ``Moments.update`` does, and to the influences on SV."""
        groups, moments = self._groups, self.over_samples[self._next]
        part = moments.opened(values, groups)
        reference = part.mean.to(values.dtype, copy=True)  # the mean will move
        deviations = groups.deviations(values, reference)
        # The rounded reference lies beside the mean so far, and after the batch beside the new mean.
        beside, total = reference - part.mean, part.count + groups.counts
        shift = (groups.sum(deviations).double() + groups.counts * beside) / total
        part.mean += shift
        is_single = self._of_all is self._of_class
        squares = self._squares_about(beside - shift, deviations, groups, deviations if is_single else None)
        part.m2 += part.count * shift.square() + groups.sum(squares).double()
        part.count = total
        if part is not moments:
            moments.replace(groups.rows, part)
        self._add_influences(self._of_class, squares, part, groups)
        if not is_single:
            pooled = moments.pooled()
            squares = self._squares_about(reference - pooled.mean, deviations, groups, deviations)
            self._add_influences(self._of_all, squares, pooled, self._everyone)

    @staticmethod
    def _squares_about(beside: Tensor, deviations: Tensor, groups: Groups, out: Tensor | None) -> Tensor:
        """Squares of deviations (B, P·C) from means that the reference lies beside, (G, P·C)."""
        return torch.add(deviations, groups.spread(beside.to(deviations.dtype)), out=out).square_()

    def _add_influences(self, to: SquaredDeviations, squares: Tensor, about: Moments, groups: Groups) -> None:
        """Add the influences on SV, as ``SquaredDeviations.add`` does, as means over positions."""
        scales = to.scales(about).square_()
        squares *= groups.spread(scales)
        fourth = groups.sum(squares.square()).mul_(scales)
        to.add_sums(to.sum + self._over_positions(squares), self._over_positions(fourth))

    def end(self, counts: Tensor, strata: Tensor) -> LayerSums:
        """Close the batch, as in ``UnitBlock``."""
        for squares in {self._of_class, self._of_all}:
            squares.dispersion = self._over_positions(squares.dispersion)
        return super().end(counts, strata)

    def _dispersions(self) -> tuple[Tensor, Tensor]:
        dispersion, of_groups = super()._dispersions()
        return self._over_positions(dispersion), of_groups.double()

    def transformation_variance(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """TV of all samples, (1, C), and of each class, (K, C)."""
        of_all, of_classes = super().transformation_variance(counts)
        return self._over_positions(of_all), self._over_positions(of_classes)

    def sample_variance(self) -> tuple[Tensor, Tensor]:
        """SV of all samples, (1, C), and of each class, (K, C)."""
        of_all, of_classes = super().sample_variance()
        return self._over_positions(of_all), self._over_positions(of_classes)

    def by_position(self, counts: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """TV and SV at each position, each of all samples, (1, P·C), and of each class, (K, P·C)."""
        return super().transformation_variance(counts), super().sample_variance()

    def _over_positions(self, values: Tensor) -> Tensor:
        """Mean over the positions of (R, P·C), giving (R, C)."""
        return values.unflatten(1, (-1, self._widths[0])).mean(dim=1)
