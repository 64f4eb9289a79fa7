"""What the choice of positions adds to the standard errors of layer means."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytorch.variance.equivariance.map_layers import MapLayer
from pytorch.variance.standard_errors import LayerErrors

Table = tuple[np.ndarray, np.ndarray]
"""TV and SV of a layer at each position: of all samples, then of each of K classes, both (1 + K, C, P)."""


def with_positions(errors: LayerErrors, layers: Sequence[MapLayer], tables: Sequence[Table]) -> LayerErrors:
    """Return standard errors that include the choice of the positions.

    Reading n of N positions, one in each of n parts, adds (1 - n/N) s² / n to the square of an error. s² is half the
    mean square of the difference between neighbouring parts (Wolter, Introduction to Variance Estimation, section 8.2):
    for TV and SV, of the mean over channels; for NV, of the mean over channels of (TV - NV SV) at a position, relative
    to the mean SV at the others. This is somewhat too large where neighbouring parts differ. Maps of one size share
    their positions.

    Args:
        errors: Errors over samples, of L layer means and, in the last column, of the global mean.
        layers: The layers, L.
        tables: Table of each layer, L.
    """
    found, together = [], {}
    channels = sum(table[0].shape[1] for table in tables)
    for layer, (tv, sv) in zip(layers, tables, strict=True):
        influences = _influences(tv, sv)
        found.append(_variance(influences, layer))
        share = influences * tv.shape[1] / channels
        before, _ = together.get(tuple(layer.size), (0.0, None))
        together[tuple(layer.size)] = before + share, layer
    added = np.stack([*found, sum(_variance(*each) for each in together.values())], axis=2)  # (2 + K, 3, L + 1)
    return replace(
        errors,
        all=np.sqrt(errors.all**2 + added[0]),
        classes=np.sqrt(errors.classes**2 + added[1:-1]),
        stratified=np.sqrt(errors.stratified**2 + added[-1, 2]),
    )


def _influences(tv: np.ndarray, sv: np.ndarray) -> np.ndarray:
    """Influence of each position on the layer means of TV, SV and NV, (2 + K, 3, P); the last row is stratified."""
    count = tv.shape[2]
    mean_tv, mean_sv = (values.mean(axis=2, keepdims=True) for values in (tv, sv))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Relative to SV without the position, as in the jackknife: a channel may be active at a few positions only.
        on_nv = (tv - mean_tv / mean_sv * sv) * (count - 1) / (count * mean_sv - sv)
        defined = np.isfinite(mean_tv / mean_sv)
    constant = (mean_tv == 0) & (mean_sv == 0)
    on_nv = np.where(np.isfinite(on_nv), on_nv, 0.0).sum(axis=1) / np.maximum((defined | constant).sum(axis=1), 1)
    on_both = ((values - mean).mean(axis=1) for values, mean in ((tv, mean_tv), (sv, mean_sv)))
    influences = np.stack([*on_both, on_nv], axis=1)
    strata = ~np.isnan(sv).all(axis=(1, 2))
    strata[0] = not strata[1:].any()
    return np.concatenate([influences, influences[strata].mean(axis=0, keepdims=True)])


def _variance(influences: np.ndarray, layer: MapLayer) -> np.ndarray:
    """Variance of a mean over the positions that were read, from the influences (..., P)."""
    left_out, count = 1 - layer.positions / layer.kept, layer.positions
    if count == 1 and left_out:
        return np.full(influences.shape[:-1], np.nan)
    return left_out * np.square(influences - np.roll(influences, 1, axis=-1)).mean(axis=-1) / (2 * count)
