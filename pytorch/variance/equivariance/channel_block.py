"""Statistics of the turned-back maps of a layer, whose units are its channels."""

import torch
from torch import Tensor

from pytorch.variance.fast.compiled_block import CompiledUnitBlock
from pytorch.variance.statistics.block import LayerSums, UnitBlock


class ChannelBlock(UnitBlock):
    """A ``UnitBlock`` for the P positions of C channels, whose TV, SV and influences are means over the positions.

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

    # Channels are few: functions for many units would gain nothing.
    _influences, _by_layer = UnitBlock._influences, UnitBlock._by_layer

    def end(self, counts: Tensor, strata: Tensor) -> LayerSums:
        """Close the batch, as in ``UnitBlock``."""
        for squares in {self._of_class, self._of_all}:
            squares.average(self._over_positions)
        return super().end(counts, strata)

    def _dispersions(self) -> tuple[Tensor, Tensor]:
        dispersion, of_groups = super()._dispersions()
        return self._over_positions(dispersion), of_groups

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


class CompiledChannelBlock(ChannelBlock, CompiledUnitBlock):
    """A ``ChannelBlock`` whose sums are computed by functions in C."""
