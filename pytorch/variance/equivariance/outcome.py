"""From the sums of turned-back maps to a result."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pytorch.variance.batches import UNLABELLED
from pytorch.variance.equivariance.equivariance_result import EQUIVARIANCE, EquivarianceResult
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.equivariance.maps import TurnedBackMaps
from pytorch.variance.equivariance.position_errors import with_positions
from pytorch.variance.first_batch import ROUNDING
from pytorch.variance.result import VarianceResult


def equivariance_result(
    maps: TurnedBackMaps, invariance: Mapping[str, VarianceResult], classes: Sequence[str] | None, epsilon: float
) -> EquivarianceResult:
    """Reduce the positions of each channel to its TV, SV and NV.

    Args:
        maps: Sums over the pass.
        invariance: Results of the same pass by aggregation, which say how it was made.
        classes: Names of the classes 0, 1, ...; None: the labels are the names.
        epsilon: Machine epsilon of the network.
    """
    accumulator, invariance = maps.accumulator, next(iter(invariance.values()))
    labels = sorted(label for label in accumulator.labels if label != UNLABELLED) if maps.by_class else []
    rows = [accumulator.labels.index(label) for label in labels]
    (tv_all, tv_classes), (sv_all, sv_classes) = accumulator.transformation_variance(), accumulator.sample_variance()
    of_images, of_layers = slice(0, math.prod(maps.layers[0].channels)), slice(math.prod(maps.layers[0].channels), None)
    layers, tables = maps.layers[1:], accumulator.by_position(rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        floor = float((tv_all[of_images] / sv_all[of_images]).mean())
    errors = accumulator.errors()
    axes = zip(invariance.layer_axes, invariance.layer_axes_known, strict=True)
    axes_of = dict(zip(invariance.layer_names, axes, strict=True))
    return EquivarianceResult(
        layer_names=[layer.name for layer in layers],
        layer_shapes=[layer.channels for layer in layers],
        classes=[str(label) if classes is None else classes[label] for label in labels],
        class_counts=accumulator.counts.numpy()[rows].astype(np.int64),
        samples=invariance.samples,
        samples_offered=invariance.samples_offered,
        transformations=invariance.transformations,
        aggregation=EQUIVARIANCE,
        dispersion=invariance.dispersion,
        precision=invariance.precision,
        tolerance=invariance.tolerance,
        shuffled=invariance.shuffled,
        never_called=invariance.never_called,
        tv_all=tv_all[of_layers],
        sv_all=sv_all[of_layers],
        tv_classes=tv_classes[rows, of_layers],
        sv_classes=sv_classes[rows, of_layers],
        errors=with_positions(errors.select([*range(1, len(layers) + 2)], rows), layers, tables[1:]),
        not_measured={**invariance.not_measured, **maps.not_turned},
        layer_axes=[axes_of[layer.name][0] for layer in layers],
        layer_axes_known=[axes_of[layer.name][1] for layer in layers],
        rounding=_rounding(accumulator, epsilon, invariance.dispersion)[of_layers],
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
