"""Sums of turned-back feature maps, whose units are channels."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytorch.variance.equivariance.channel_block import ChannelBlock, CompiledChannelBlock
from pytorch.variance.fast.compiled_block import CompiledUnitBlock
from pytorch.variance.statistics.accumulator import VarianceAccumulator, kind_of_blocks
from pytorch.variance.statistics.block import UnitBlock


class MapAccumulator(VarianceAccumulator):
    """A ``VarianceAccumulator`` of channels, each read at several positions; it knows how far each is from equivariant.

    The values of a layer are side by side, position by position.

    Attributes:
        squares: Squared deviations of each layer from its mean over the transformations, summed over transformations,
            samples, positions and channels, (L,) float64.

    Args:
        transformations: Number of transformations, T.
        layers: Number of channels of each layer.
        positions: Number of positions of each layer.
        options: Other arguments of ``VarianceAccumulator``.
    """

    def __init__(self, transformations: int, layers: list[int], positions: list[int], **options: object) -> None:
        self._positions = positions
        super().__init__(transformations, layers, **{"shape": (1, 1)} | options)  # each layer is a block
        self.arguments["positions"] = positions
        self.squares = torch.zeros(len(layers), dtype=torch.float64, device=self._device)

    def _blocks_of(self, dispersion: str, width: int, at_once: int) -> list[UnitBlock]:
        kind = CompiledChannelBlock if kind_of_blocks(self._device) is CompiledUnitBlock else ChannelBlock
        return [
            kind(self._transformations, layer, positions, channels, dispersion, self._device)
            for layer, (channels, positions) in enumerate(zip(self.layers, self._positions, strict=True))
        ]

    def add(self, activations: Sequence[Tensor]) -> None:
        """Add the values of each layer for the batch under the next transformation, (B, P·C).

        They are converted to the types that they have under the first one.
        """
        if self._steps == 0:
            self._kinds = [values.dtype for values in activations]
        self._steps += 1
        for block, values, kind in zip(self._blocks, activations, self._kinds, strict=True):
            block.add(values.to(kind))

    def end(self) -> None:
        """Close the batch, as in ``VarianceAccumulator``."""
        if self._steps == self._transformations:
            self.squares += torch.stack([block.squares_over_transformations().sum() for block in self._blocks])
        super().end()

    def relative_errors(self) -> list[float]:
        """Root mean square of the deviations from the mean over transformations, relative to that of the values."""
        samples = self.counts.sum().item()
        totals = []
        for block in self._blocks:
            means, m2 = block.over_all_samples()
            totals.append((m2 + samples * means.square()).sum())
        return (self.squares / torch.stack(totals)).sqrt().tolist()

    def largest_means(self) -> np.ndarray:
        """Largest absolute mean over samples in each layer, (L,); 0 where none is finite."""
        means = [block.over_all_samples()[0].abs().nan_to_num(0, 0, 0).max() for block in self._blocks]
        return torch.stack(means).cpu().numpy()

    def by_position(self, rows: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """TV and SV at each position of each layer: of all samples, then of the classes in ``rows``, (1 + K, C, P)."""
        counts, found = self._float_counts(), []
        for block, positions in zip(self._blocks, self._positions, strict=True):
            pair = (torch.cat([of_all, of_classes[rows]]) for of_all, of_classes in block.by_position(counts))
            found.append(tuple(each.unflatten(1, (positions, -1)).transpose(1, 2).cpu().numpy() for each in pair))
        return found

    def tensors(self) -> Iterator[Tensor]:
        """The state, as in ``VarianceAccumulator``."""
        yield from super().tensors()
        yield self.squares

    def merge_shard(self, fill: Callable[[Tensor], Any], fewest: int) -> None:
        """Add the samples of another accumulator, as in ``VarianceAccumulator``."""
        super().merge_shard(fill, fewest)
        squares = torch.empty_like(self.squares)
        fill(squares)
        self.squares += squares
