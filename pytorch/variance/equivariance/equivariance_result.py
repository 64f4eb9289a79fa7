"""The result of a measurement of same-equivariance."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from pytorch.files.checked_fields import demand
from pytorch.files.sealed_file import Format
from pytorch.names import EQUIVARIANCE
from pytorch.variance.result import VarianceResult
from pytorch.variance.standard_errors import read_only


@dataclass(frozen=True, eq=False)
class EquivarianceResult(VarianceResult):
    """TV, SV and NV of b(x, t) = t⁻¹ a(x, t), each feature map turned back by the inverse transformation.

    A unit is a channel: TV and SV are means over the positions that all transformations keep, or over a random sample
    spread over the map, and NV = TV / SV. The methods are those of ``VarianceResult``; standard errors include the
    choice of positions. What it has besides:

    Attributes:
        aggregation: ``"same-equivariance"``.
        map_sizes: Height and width of the maps of each layer; empty for a layer without positions, whose
            same-equivariance is invariance.
        positions: Row and column of the positions that were read of each layer, (P, 2) int64.
        positions_kept: Number of positions of each layer that all transformations keep.
        relative_errors: Equivariance error of each layer; see ``equivariance_errors``.
        floor: Mean NV of the images themselves, turned and turned back: what interpolation alone causes.
        floor_error: Its standard error.
        rounding: (U,) float64, the largest dispersion that rounding can cause, from the size of the activations.
    """

    form = Format("variance-experiments equivariance result", version=1)

    _: KW_ONLY
    map_sizes: list[list[int]]
    positions: list[np.ndarray]
    positions_kept: list[int]
    relative_errors: list[float]
    floor: float
    floor_error: float

    def __post_init__(self) -> None:
        """Freeze the arrays and check that they are consistent.

        Raises:
            ValueError: Shapes or types do not match, or no measurement gives such positions or errors.
        """
        super().__post_init__()
        demand(self.aggregation == EQUIVARIANCE, f"its aggregation is {self.aggregation}, not {EQUIVARIANCE}")
        layers = len(self.layer_names)
        lists = self.map_sizes, self.positions, self.positions_kept, self.relative_errors
        if {*map(len, lists)} != {layers}:
            raise ValueError("every layer needs positions and an error")
        places = [read_only("positions", each, (len(each), 2), np.int64) for each in self.positions]
        object.__setattr__(self, "positions", places)
        fit = all(map(fits, self.map_sizes, self.positions, self.positions_kept))
        demand(fit, "its positions are not those of its maps")
        errors = *self.relative_errors, self.floor, self.floor_error
        demand(not any(error < 0 for error in errors), "its errors or its floor are below 0")  # they may be NaN

    @property
    def most_positions(self) -> int:
        """Greatest number of positions at which a map is read; 0 if no layer has any."""
        return max(map(len, self.positions), default=0)

    def positions_for(self, asked: int | None) -> int | str:
        """Return ``most_positions`` if a measurement at ``asked`` positions, None for all, reads as many of each map.

        Otherwise, return the number that is asked for, or ``"all"``.
        """
        alike = all(
            len(read) == (kept if asked is None else min(asked, kept))
            for size, read, kept in zip(self.map_sizes, self.positions, self.positions_kept, strict=True)
            if size
        )
        return self.most_positions if alike else asked or "all"

    @property
    def units_title(self) -> str:
        """What the units are: channels, and at how many positions they are read."""
        return f"{EQUIVARIANCE} at up to {self.most_positions} positions"

    @property
    def without_positions(self) -> list[str]:
        """Names of the layers without positions, whose same-equivariance is invariance."""
        return [name for name, size in zip(self.layer_names, self.map_sizes, strict=True) if not size]

    def equivariance_errors(self) -> dict[str, float]:
        """Equivariance error: the root mean square of b(x, t) minus its mean over t, relative to that of b.

        The mean squares are those over samples, transformations, channels and positions; b has the values of the
        feature map a. With small angles, such as ``rotations(4, degrees=2)``, this is a local error, as that of
        lie-deriv. With two transformations it is half of the relative difference that escnn's ``check_equivariance``
        compares.

        Returns:
            A number for each layer; NaN for one that is 0.
        """
        return dict(zip(self.layer_names, self.relative_errors, strict=True))


def fits(size: list[int], read: np.ndarray, kept: int) -> bool:
    """Return whether positions can be those that are read of a map of this size; a layer without a map has none."""
    if not size:
        return len(read) == 0 and kept == 1
    height, width = size
    return 0 < len(read) <= kept <= height * width and bool(((read >= 0) & (read < size)).all())
