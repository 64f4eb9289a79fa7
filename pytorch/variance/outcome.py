"""From the sums of a pass to one result for each aggregation."""

import numpy as np

from pytorch.variance.batches import UNLABELLED
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.result import VarianceResult
from pytorch.variance.single_pass import PassOptions
from pytorch.variance.statistics.accumulator import VarianceAccumulator
from pytorch.variance.transforming import description


def results(
    accumulator: VarianceAccumulator,
    recorder: ActivationRecorder,
    classes: list[str] | None,
    options: PassOptions,
    total: int | None,
) -> dict[str, VarianceResult]:
    """Sort and name the classes, and separate the aggregations.

    Args:
        accumulator: Sums of one model.
        recorder: Recorder of that model.
        classes: Names of the classes 0, 1, ...; None: the labels are the names.
        options: Options of the pass.
        total: Number of samples available; None: unknown.

    Returns:
        A result for each aggregation, by name.
    """
    labels = sorted(label for label in accumulator.labels if label != UNLABELLED)
    rows = [accumulator.labels.index(label) for label in labels]
    counts = accumulator.counts.numpy()
    tv_all, tv_classes = accumulator.transformation_variance()
    sv_all, sv_classes = accumulator.sample_variance()
    errors = accumulator.errors()
    owner = np.repeat(np.arange(len(recorder.layers)), [layer.units for layer in recorder.layers])
    found = {}
    for index, (aggregation, columns) in enumerate(recorder.columns().items()):
        units = np.isin(owner, columns)
        layers = [recorder.layers[column] for column in columns]
        found[aggregation] = VarianceResult(
            layer_names=[layer.name for layer in layers],
            layer_shapes=[layer.shape for layer in layers],
            classes=[str(label) if classes is None else classes[label] for label in labels],
            class_counts=counts[rows].astype(np.int64),
            samples=int(counts.sum()),
            samples_offered=total,
            transformations=[*map(description, options.transformations)],
            aggregation=aggregation,
            dispersion=options.dispersion,
            precision=options.precision,
            tolerance=None if options.tolerance is None else float(options.tolerance),
            shuffled=options.shuffled,
            never_called=recorder.never_called,
            not_measured=dict(recorder.not_measured),
            layer_axes=[list(layer.channel_axes) for layer in layers],
            layer_axes_known=[layer.axes_known for layer in layers],
            rounding=None if recorder.rounding is None else _rounding(recorder, options)[units],
            tv_all=tv_all[units],
            sv_all=sv_all[units],
            tv_classes=_part(tv_classes, rows, units),
            sv_classes=_part(sv_classes, rows, units),
            errors=errors.select([*columns, len(recorder.layers) + index], rows),
        )
    return found


def _rounding(recorder: ActivationRecorder, options: PassOptions) -> np.ndarray:
    bounds = recorder.rounding.cpu().numpy()
    return bounds**2 if options.dispersion == "variance" else bounds


def _part(values: np.ndarray, rows: list[int], columns: np.ndarray) -> np.ndarray:
    """Select rows and columns, without a copy (which may be large) if all are selected."""
    if rows == list(range(len(values))) and columns.all():
        return values
    return values[np.ix_(rows, columns)]
