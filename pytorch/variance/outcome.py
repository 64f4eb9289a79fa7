"""From the sums of a pass to one result for each aggregation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from pytorch.errors import InputError
from pytorch.variance.batches import UNLABELLED
from pytorch.variance.recording.layers import Layer
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.result import VarianceResult
from pytorch.variance.single_pass import PassOptions
from pytorch.variance.statistics.accumulator import VarianceAccumulator
from pytorch.variance.transforming import description


class OfLayers:
    """A description of layers that a file can hold.

    Attributes:
        kind: Class of each of its ``layers``.
    """

    kind: ClassVar[type]

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and numpy arrays."""
        return {**vars(self), "layers": [vars(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Rebuild a description from the output of ``to_dict``.

        Raises:
            TypeError, KeyError: The content is of something else.
        """
        return cls(**{**content, "layers": [cls.kind(**layer) for layer in content["layers"]]})


@dataclass(frozen=True, eq=False)
class Setup(OfLayers):
    """What was measured of a model, and how: all of a result but its numbers.

    Attributes:
        layers: Layers along the unit axis, in order.
        columns: Indices of the layers of each aggregation.
        classes: Names of the classes 0, 1, ...; None: the labels are the names.
        rounding: (U,) float64, the largest dispersion that rounding can cause; None: unknown.

    The other attributes are those of ``VarianceResult``.
    """

    kind = Layer

    layers: list[Layer]
    columns: dict[str, list[int]]
    classes: list[str] | None
    samples_offered: int | None
    transformations: list[str]
    dispersion: str
    precision: str
    tolerance: float | None
    shuffled: bool
    never_called: list[str]
    not_measured: dict[str, str]
    rounding: np.ndarray | None

    @classmethod
    def of(
        cls, recorder: ActivationRecorder, classes: list[str] | None, options: PassOptions, offered: int | None
    ) -> Self:
        """Describe a pass that has ended.

        Args:
            recorder: Recorder of the model.
            classes: Names of the classes 0, 1, ...; None: the labels are the names.
            options: Options of the pass.
            offered: Number of samples available, in the shard if there is one; None: unknown.
        """
        rounding = recorder.rounding
        return cls(
            layers=recorder.layers,
            columns=recorder.columns(),
            classes=classes,
            samples_offered=offered,
            transformations=[*map(description, options.transformations)],
            dispersion=options.dispersion,
            precision=options.precision,
            tolerance=None if options.tolerance is None else float(options.tolerance),
            shuffled=options.shuffled,
            never_called=recorder.never_called,
            not_measured=dict(recorder.not_measured),
            rounding=None if rounding is None else rounding_bounds(rounding.cpu().numpy(), options.dispersion),
        )

    def fields(self, accumulator: VarianceAccumulator, layers: Sequence[Layer], rows: list[int]) -> dict[str, Any]:
        """Return the fields of a result that follow from the setup and the numbers of samples.

        Args:
            accumulator: Sums of the model.
            layers: Layers of the result.
            rows: Rows of its classes.
        """
        counts = accumulator.counts.numpy()
        labels = [accumulator.labels[row] for row in rows]
        own = "layers", "columns", "classes", "rounding"
        return {name: value for name, value in vars(self).items() if name not in own} | {
            "layer_names": [layer.name for layer in layers],
            "layer_shapes": [layer.shape for layer in layers],
            "classes": [str(label) if self.classes is None else self.classes[label] for label in labels],
            "class_counts": counts[rows].astype(np.int64),
            "samples": int(counts.sum()),
            "layer_axes": [list(layer.channel_axes) for layer in layers],
            "layer_axes_known": [layer.axes_known for layer in layers],
        }


def results(accumulator: VarianceAccumulator, setup: Setup) -> dict[str, VarianceResult]:
    """Sort and name the classes, and separate the aggregations.

    Args:
        accumulator: Sums of one model.
        setup: What was measured.

    Returns:
        A result for each aggregation, by name.
    """
    rows = class_rows(accumulator)
    tv_all, tv_classes = accumulator.transformation_variance()
    sv_all, sv_classes = accumulator.sample_variance()
    errors, f_all = accumulator.errors(), accumulator.f_statistics()
    owner = np.repeat(np.arange(len(setup.layers)), [layer.units for layer in setup.layers])
    found = {}
    for index, (aggregation, columns) in enumerate(setup.columns.items()):
        units = np.isin(owner, columns)
        found[aggregation] = VarianceResult(
            **setup.fields(accumulator, [setup.layers[column] for column in columns], rows),
            aggregation=aggregation,
            rounding=None if setup.rounding is None else setup.rounding[units],
            tv_all=tv_all[units],
            sv_all=sv_all[units],
            tv_classes=_part(tv_classes, rows, units),
            sv_classes=_part(sv_classes, rows, units),
            errors=errors.select([*columns, len(setup.layers) + index], rows),
            f_all=f_all[units],
        )
    return found


def class_rows(accumulator: VarianceAccumulator) -> list[int]:
    """Rows of the classes in an accumulator, in the order of their labels."""
    labels = accumulator.labels
    return sorted((row for row, label in enumerate(labels) if label != UNLABELLED), key=labels.__getitem__)


def check_count(samples: int) -> None:
    """Check that there are enough samples for a sample variance.

    Raises:
        InputError: There are fewer than two.
    """
    if samples < 2:
        raise InputError(f"{samples} samples: at least two are needed, the sample variance of fewer is undefined")


def rounding_bounds(deviations: np.ndarray, dispersion: str) -> np.ndarray:
    """Return the largest dispersion that deviations of at most this size can cause."""
    return deviations**2 if dispersion == "variance" else deviations


def _part(values: np.ndarray, rows: list[int], columns: np.ndarray) -> np.ndarray:
    """Select rows and columns, without a copy (which may be large) if all are selected."""
    if rows == list(range(len(values))) and columns.all():
        return values
    return values[np.ix_(rows, columns)]
