"""Turning feature maps of one size back: which positions all transformations keep, and what is read for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch.errors import InputError, one_line
from pytorch.variance.equivariance.definition import EDGE
from pytorch.variance.equivariance.position_choice import spread_out
from pytorch.variance.recording.aggregation import unit_type
from pytorch.variance.transforming import Transformation, description

WHOLE = 1 - 1e-6
"""Least value of a turned-back map of ones at positions that an inverse keeps."""


@dataclass(frozen=True)
class Reading:
    """What is read for P positions of a turned-back map.

    Attributes:
        places: Positions of the flattened map, (P, N): N = 1 if each reads a single one, else its four neighbours.
        weights: Weights of the four neighbours, (P, N) float64; None for a single one.
    """

    places: Tensor
    weights: Tensor | None


def inverse_of(transformation: Transformation) -> Any:
    """Return the inverse of a transformation on feature maps.

    Raises:
        InputError: It has none.
    """
    inverse = getattr(transformation, "inverse", None)
    if inverse is None or not (hasattr(inverse, "sources") or callable(inverse)):
        raise InputError(f"transformation {description(transformation)} has no inverse, which equivariance needs: set "
                         "its attribute inverse to a function that turns feature maps (B, C, H, W) back")  # fmt: skip
    return inverse


class Turning:
    """Turns feature maps of H × W positions back, at some of the positions that all transformations keep.

    Attributes:
        kept: Number of positions that all transformations keep.
        positions: Row and column of the positions that are read, (P, 2) int64.

    Args:
        transformations: Transformations with inverses. An inverse with a method ``sources(height, width, size)``, as of
            ``pytorch.transformations.Inverse``, is read bilinearly at those; any other turns whole maps back.
        height, width: Size of the maps.
        size: Height and width of the images.
        count: Greatest number of positions to read, drawn as by ``spread_out``; None: all.
        seed: Random seed.

    Raises:
        InputError: A transformation has no inverse, or its inverse cannot take a map.
    """

    def __init__(
        self,
        transformations: Sequence[Transformation],
        height: int,
        width: int,
        size: tuple[int, int],
        count: int | None = None,
        seed: int = 0,
    ) -> None:
        self._shape = height, width
        self._transformations = transformations
        self._inverses = [inverse_of(transformation) for transformation in transformations]
        self._sources = [
            inverse.sources(height, width, size) if hasattr(inverse, "sources") else None for inverse in self._inverses
        ]
        limit = torch.tensor([height - 1, width - 1], dtype=torch.float64)
        kept = torch.ones(height, width, dtype=torch.bool)
        for step, sources in enumerate(self._sources):
            if sources is None:
                ones = torch.ones(1, 1, height, width, dtype=torch.float64)
                kept &= self._by_function(ones, step)[0, 0] >= WHOLE
            else:
                kept &= ((sources >= -EDGE) & (sources <= limit + EDGE)).all(dim=-1)
        found = kept.nonzero()
        self.kept = len(found)
        if count is not None and count < self.kept:
            found = spread_out(found, count, seed)
        self.positions = found
        self._readings: dict[tuple[int, torch.device], Reading] = {}

    def read(self, maps: Tensor, step: int) -> Tensor:
        """Turn maps back by the inverse of transformation number ``step``, at the positions.

        Args:
            maps: (B, C, H, W), of any strides.
            step: Number of the transformation.

        Returns:
            (B, P, C), float32 or float64.
        """
        if self._sources[step] is None:
            row, column = self.positions.unbind(dim=1)
            found = self._by_function(maps.to(unit_type(maps)), step)
            return found[:, :, row.to(maps.device), column.to(maps.device)].transpose(1, 2)
        return read_at(maps, self._reading(step, maps.device))

    def _by_function(self, maps: Tensor, step: int) -> Tensor:
        inverse, name = self._inverses[step], description(self._transformations[step])
        try:
            made = inverse(maps)
        except Exception as error:
            raise InputError(f"the inverse of transformation {name} cannot take feature maps of shape "
                             f"{tuple(maps.shape)} ({one_line(error, longest=200)})") from error  # fmt: skip
        if not isinstance(made, Tensor) or made.shape != maps.shape:
            found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise InputError(f"the inverse of transformation {name} made {found} of feature maps of shape "
                             f"{tuple(maps.shape)}: it must keep the shape")  # fmt: skip
        return made

    def _reading(self, step: int, device: torch.device) -> Reading:
        if (step, device) not in self._readings:
            row, column = self.positions.unbind(dim=1)
            self._readings[step, device] = reading_of(self._sources[step][row, column], *self._shape, device)
        return self._readings[step, device]


def reading_of(sources: Tensor, height: int, width: int, device: torch.device | str = "cpu") -> Reading:
    """Find the neighbours of sources inside a map, (P, 2) float64 rows and columns, and their bilinear weights."""
    nearest = sources.round()
    if ((sources - nearest).abs() <= EDGE).all():
        row, column = nearest.long().unbind(dim=1)
        return Reading((row * width + column).unsqueeze(1).to(device), None)
    last = torch.tensor([height - 1, width - 1])
    sources = sources.clamp(min=torch.zeros(2, dtype=torch.float64), max=last.double())
    first = torch.minimum(sources.long(), (last - 1).clamp(min=0))
    (row, column), (down, right) = first.unbind(dim=1), (sources - first).unbind(dim=1)
    places, weights = [], []
    for below, weight_y in ((0, 1 - down), (1, down)):
        for beside, weight_x in ((0, 1 - right), (1, right)):
            places.append((row + below).clamp(max=height - 1) * width + (column + beside).clamp(max=width - 1))
            weights.append(weight_y * weight_x)
    return Reading(torch.stack(places, dim=1).to(device), torch.stack(weights, dim=1).to(device))


def read_at(maps: Tensor, reading: Reading) -> Tensor:
    """Read maps, (B, C, H, W), at P positions, giving (B, P, C)."""
    batch, channels, height, width = maps.shape
    pixels = maps.to(unit_type(maps)).permute(0, 2, 3, 1).reshape(-1, channels)
    first = torch.arange(0, len(pixels), height * width, device=maps.device).view(-1, 1, 1)
    places, weights = (first + reading.places).flatten(0, 1), reading.weights
    if weights is not None:
        weights = weights.to(pixels.dtype).repeat(batch, 1)
    return F.embedding_bag(places, pixels, mode="sum", per_sample_weights=weights).view(batch, -1, channels)
