"""From the sums of a pass to what a measurement returns."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pytorch.variance.equivariance.equivariance_result import EQUIVARIANCE, EquivarianceResult
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.equivariance.map_layers import MapSetup
from pytorch.variance.equivariance.position_errors import with_positions
from pytorch.variance.outcome import Setup, check_count, class_rows, results, rounding_bounds
from pytorch.variance.result import VarianceResult
from pytorch.variance.statistics.accumulator import VarianceAccumulator

ROUNDING = 16
"""Bound of the rounding of a map, in machine epsilons of the largest mean in its layer."""


def whole_result(
    sums: Mapping[str, VarianceAccumulator], setup: Setup, maps: MapSetup | None, *, single: bool
) -> VarianceResult | dict[str, Any]:
    """Return what ``measure_variance`` returns.

    Args:
        sums: Sums of one model, for each measure.
        setup: What was measured.
        maps: What was turned back; None: nothing.
        single: Whether the result is of a single aggregation, instead of a dict.

    Raises:
        InputError: There are fewer than two samples.
    """
    found: dict[str, Any] = {}
    for measure, accumulator in sums.items():
        check_count(int(accumulator.counts.sum()))
        if isinstance(accumulator, MapAccumulator):
            found[measure] = equivariance_result(accumulator, maps, setup)
        else:
            of_aggregations = results(accumulator, setup)
            found[measure] = next(iter(of_aggregations.values())) if single else of_aggregations
    return found if len(found) > 1 else next(iter(found.values()))


def equivariance_result(accumulator: MapAccumulator, maps: MapSetup, setup: Setup) -> EquivarianceResult:
    """Reduce the positions of each channel to its TV, SV and NV.

    Args:
        accumulator: Sums over the pass.
        maps: What was turned back.
        setup: What was measured.
    """
    layers = maps.layers[1:]
    rows = class_rows(accumulator) if maps.by_class else []
    (tv_all, tv_classes), (sv_all, sv_classes) = accumulator.transformation_variance(), accumulator.sample_variance()
    errors, tables = accumulator.errors(), accumulator.by_position(rows)
    largest = np.repeat(accumulator.largest_means(), accumulator.layers)
    of_images, of_layers = np.split(np.arange(len(tv_all)), [maps.layers[0].channels])
    with np.errstate(invalid="ignore", divide="ignore"):
        floor = float((tv_all[of_images] / sv_all[of_images]).mean())
    known = {layer.name: layer for layer in setup.layers}
    fields = setup.fields(accumulator, [replace(known[each.name], shape=each.shape) for each in layers], rows)
    return EquivarianceResult(
        **fields | {"not_measured": setup.not_measured | maps.not_turned},
        aggregation=EQUIVARIANCE,
        tv_all=tv_all[of_layers],
        sv_all=sv_all[of_layers],
        tv_classes=tv_classes[np.ix_(rows, of_layers)],
        sv_classes=sv_classes[np.ix_(rows, of_layers)],
        errors=with_positions(errors.select([*range(1, len(layers) + 2)], rows), layers, tables[1:]),
        rounding=rounding_bounds(ROUNDING * maps.epsilon * largest, setup.dispersion)[of_layers],
        map_sizes=[layer.size for layer in layers],
        positions=[layer.places for layer in layers],
        positions_kept=[layer.kept for layer in layers],
        relative_errors=accumulator.relative_errors()[1:],
        floor=floor,
        floor_error=float(with_positions(errors.select([0, 0], rows), maps.layers[:1], tables[:1]).all[2, 0]),
    )
