"""Statistics of the turned-back maps of a layer, whose units are its channels."""

import torch
from torch import Tensor

from pytorch.variance.statistics.block import LayerSums, UnitBlock
from pytorch.variance.statistics.moments import Update


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
        """Add the values of the batch under the next transformation, (B, P·C)."""
        if self._next == 0:
            self._first = activations.clone()
            self._sum, self._squares = (torch.zeros_like(self._first) for _ in range(2))
        deviations = activations - self._first
        self._sum += deviations
        self._squares.addcmul_(deviations, deviations)
        update = self._updated(activations, deviations)
        self._of_class.add(update, self._groups, update.moments)
        if self._of_all is not self._of_class:
            self._of_all.add(update, self._groups, self.over_samples[self._next].pooled())
        self._next += 1

    def _updated(self, activations: Tensor, memory: Tensor) -> Update:
        """Add the activations to the moments over samples, as ``Moments.update`` does; ``memory`` is overwritten."""
        groups, moments = self._groups, self.over_samples[self._next]
        part = moments.opened(activations, groups)
        reference = part.mean.to(activations.dtype, copy=True)  # the mean will move
        deviations = torch.sub(activations, groups.spread(reference), out=memory)
        sums, squares = groups.sum(deviations).double(), groups.sum(deviations.square()).double()
        # Sums of n deviations d from a rounded mean, which lies b beside the mean: of d + b and of (d + b)².
        beside = reference - part.mean
        squares += beside * (2 * sums + groups.counts * beside)
        sums += groups.counts * beside
        return Update(moments.taken(part, sums, squares, groups), deviations.float(), reference.double())

    def end(self, counts: Tensor, strata: Tensor) -> LayerSums:
        """Close the batch, as in ``UnitBlock``."""
        self._of_class.average(self._over_positions)
        if self._of_all is not self._of_class:
            self._of_all.average(self._over_positions)
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
