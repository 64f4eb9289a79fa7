"""What was turned back: all of an equivariance result but its numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytorch.variance.outcome import OfLayers


@dataclass(frozen=True, eq=False)
class MapLayer:
    """A layer whose maps are turned back, or which has none.

    Attributes:
        name: Name of the layer.
        shape: Shape of its channels, of one sample.
        size: Height and width of its maps; empty if it has no positions.
        places: Row and column of the positions that are read, (P, 2) int64; (0, 2) if there are none.
        kept: Number of positions that all transformations keep; 1 if there are none.
    """

    name: str
    shape: tuple[int, ...]
    size: list[int]
    places: np.ndarray
    kept: int

    @property
    def channels(self) -> int:
        """Number of channels."""
        return math.prod(self.shape)

    @property
    def positions(self) -> int:
        """Number of positions that are read; 1 if there are none."""
        return len(self.places) if self.size else 1


def sizes_of(layers: Sequence[MapLayer]) -> dict[str, list[Any]]:
    """Arguments of the ``MapAccumulator`` of some layers; the first, the images, takes no part in their mean."""
    return {
        "layers": [layer.channels for layer in layers],
        "positions": [layer.positions for layer in layers],
        "wholes": [[*range(1, len(layers))]],
    }


@dataclass(frozen=True, eq=False)
class MapSetup(OfLayers):
    """What was turned back of a model.

    Attributes:
        layers: The images, then the layers, in order of execution.
        not_turned: Reason why a layer is not turned back, by name.
        by_class: Whether each class was measured, too.
        epsilon: Machine epsilon of the network.
    """

    kind = MapLayer

    layers: list[MapLayer]
    not_turned: dict[str, str]
    by_class: bool
    epsilon: float
