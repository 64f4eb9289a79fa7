"""The definition of same-equivariance, on the whole table of feature maps; the single pass gives the same."""

import numpy as np

from pytorch.variance.definition import variances

EDGE = 1e-9
"""Positions by which a source may lie outside a map, or beside a position, from rounding alone."""


def turned_back(table: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Turn each feature map back on its own grid: b(x, t) = t⁻¹ a(x, t), bilinearly.

    Args:
        table: (N, T, C, H, W) float64, the feature maps of sample x under transformation t.
        sources: (T, H, W, 2) float64, row and column of a(x, t) that each position of b(x, t) reads.

    Returns:
        (N, T, C, H, W) float64; NaN where the source is outside the map.
    """
    height, width = table.shape[-2:]
    found = np.full(table.shape, np.nan)
    inside = inside_map(sources)
    for step, row, column in zip(*inside.nonzero(), strict=True):
        y, x = np.clip(sources[step, row, column], 0, [height - 1, width - 1])
        top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
        found[:, step, :, row, column] = sum(
            weight_y * weight_x * table[:, step, :, near_y, near_x]
            for near_y, weight_y in ((top, 1 - (y - top)), (top + 1, y - top))
            for near_x, weight_x in ((left, 1 - (x - left)), (left + 1, x - left))
            if weight_y * weight_x
        )
    return found


def same_equivariance(
    table: np.ndarray, sources: np.ndarray, dispersion: str = "std"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute TV, SV and NV of same-equivariance of each channel.

    TV and SV of b(x, t) = t⁻¹ a(x, t) at each position, then means over the positions that all transformations keep;
    NV = TV / SV, with 0 / 0 = 1 as for any unit. A mean of NV over positions would follow the few positions, as in
    black margins, where hardly any sample differs.

    Args:
        table: (N, T, C, H, W) float64, feature maps.
        sources: (T, H, W, 2) float64, as for ``turned_back``.
        dispersion: ``"std"`` or ``"variance"``, both with ddof = 1.

    Returns:
        TV, SV and NV, each (C,) float64.

    Source:
        Quiroga et al. (2019), doi 10.1007/978-3-030-27713-0_9; arXiv 2310.17404. The same as in tmeasures with
        ``AverageFeatureMaps``, except that tmeasures averages over all positions, and fills those that a transformation
        loses from the border.

    >>> maps = np.arange(12.0).reshape(3, 1, 1, 2, 2)
    >>> table = np.concatenate([maps, maps[..., ::-1]], axis=1)  # equivariant to a flip
    >>> grid = np.stack(np.meshgrid([0.0, 1.0], [0.0, 1.0], indexing="ij"), axis=-1)
    >>> flipped = np.stack(np.meshgrid([0.0, 1.0], [1.0, 0.0], indexing="ij"), axis=-1)
    >>> same_equivariance(table, np.stack([grid, flipped]))
    (array([0.]), array([4.]), array([0.]))
    """
    kept = inside_map(sources).all(axis=0)
    tv, sv, _ = variances(turned_back(table, sources)[..., kept], dispersion)
    tv, sv = tv.mean(axis=-1), sv.mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return tv, sv, np.where((tv == 0) & (sv == 0), 1.0, tv / sv)


def inside_map(sources: np.ndarray) -> np.ndarray:
    """Where the source of a position is inside the map, but for rounding: (..., H, W) of (..., H, W, 2)."""
    last = np.subtract(sources.shape[-3:-1], 1)
    return ((sources >= -EDGE) & (sources <= last + EDGE)).all(axis=-1)
