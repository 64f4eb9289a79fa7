"""From the sums of turned-back maps to a result."""

import math
from dataclasses import replace

import numpy as np

from pytorch.variance.equivariance.equivariance_result import EQUIVARIANCE, EquivarianceResult
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.equivariance.maps import TurnedBackMaps
from pytorch.variance.equivariance.position_errors import with_positions
from pytorch.variance.first_batch import ROUNDING
from pytorch.variance.outcome import Setup, class_rows


def equivariance_result(maps: TurnedBackMaps, setup: Setup, epsilon: float) -> EquivarianceResult:
    """Reduce the positions of each channel to its TV, SV and NV.

    Args:
        maps: Sums over the pass.
        setup: What was measured in it.
        epsilon: Machine epsilon of the network.
    """
    accumulator, layers = maps.accumulator, maps.layers[1:]
    rows = class_rows(accumulator) if maps.by_class else []
    (tv_all, tv_classes), (sv_all, sv_classes) = accumulator.transformation_variance(), accumulator.sample_variance()
    errors, tables = accumulator.errors(), accumulator.by_position(rows)
    of_images, of_layers = np.split(np.arange(len(tv_all)), [math.prod(maps.layers[0].channels)])
    with np.errstate(invalid="ignore", divide="ignore"):
        floor = float((tv_all[of_images] / sv_all[of_images]).mean())
    known = {layer.name: layer for layer in setup.layers}
    fields = setup.fields(accumulator, [replace(known[each.name], shape=each.channels) for each in layers], rows)
    return EquivarianceResult(
        **fields | {"not_measured": setup.not_measured | maps.not_turned},
        aggregation=EQUIVARIANCE,
        tv_all=tv_all[of_layers],
        sv_all=sv_all[of_layers],
        tv_classes=tv_classes[np.ix_(rows, of_layers)],
        sv_classes=sv_classes[np.ix_(rows, of_layers)],
        errors=with_positions(errors.select([*range(1, len(layers) + 2)], rows), layers, tables[1:]),
        rounding=_rounding(accumulator, epsilon, setup.dispersion)[of_layers],
        map_sizes=[list(layer.size or ()) for layer in layers],
        positions=[layer.places for layer in layers],
        positions_kept=[layer.kept for layer in layers],
        relative_errors=accumulator.relative_errors()[1:],
        floor=floor,
        floor_error=float(with_positions(errors.select([0, 0], rows), maps.layers[:1], tables[:1]).all[2, 0]),
    )


def _rounding(accumulator: MapAccumulator, epsilon: float, dispersion: str) -> np.ndarray:
    """``ROUNDING`` times the machine epsilon of the largest mean in the layer of each unit, (U,)."""
    bounds = ROUNDING * epsilon * np.repeat(accumulator.largest_means(), accumulator.layers)
    return bounds**2 if dispersion == "variance" else bounds
