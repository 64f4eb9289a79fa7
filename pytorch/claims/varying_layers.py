"""Layer means that can rise or fall with depth: of units that change, without repetitions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pytorch.variance import VarianceResult

SAME = 1e-4
"""Layer means of neighbours that differ by less count once."""


@dataclass(frozen=True)
class VaryingLayers:
    """Means of NV over the units of each layer that change; layers without such units are left out.

    Attributes:
        names: Name of each layer with its position among all layers.
        values: Layer means, (L,).
        errors: Standard errors over samples, (L,).
    """

    names: list[str]
    values: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, result: VarianceResult, group: str) -> "VaryingLayers":
        """Select the layers that have such means."""
        means, errors = (found(group, varying=True) for found in (result.layer_means, result.layer_errors))
        found = {
            f"{layer} ({place} of {len(means)})": (mean, errors[layer])
            for place, (layer, mean) in enumerate(means.items(), 1)
            if np.isfinite(mean)
        }
        values, errors = np.array([*found.values()]).reshape(-1, 2).T
        return cls([*found], values, errors)

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the means and their errors, with repeated neighbours once."""
        kept: list[int] = []
        for place, value in enumerate(self.values):
            if not (kept and abs(value - self.values[kept[-1]]) < SAME):
                kept.append(place)
        return self.values[kept], self.errors[kept]

    def extreme(self, which: Callable[[np.ndarray], int]) -> str:
        """Name the layer with the lowest or the highest mean."""
        if not len(self.values):
            return ""
        index = int(which(self.values))
        return f"{self.names[index]}: {self.values[index]:.2f}"
