"""Results as tidy rows, computed once; ``results.csv`` lists them all, tables and claims select from them."""

import csv
import io
import math
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from pytorch.experiments.published import published_global_mean
from pytorch.experiments.variance_pair import VariancePair
from pytorch.report.table import Estimate
from pytorch.variance import VarianceResult
from pytorch.variance.equivariance import EquivarianceResult
from pytorch.variance.result import ALL, GROUP_TITLES, STRATIFIED
from pytorch.variance.stopping import CONFIDENCE_95

NORMALIZED = "normalized"
UNITS = {
    "transformation": VarianceResult.transformation_variance,
    "sample": VarianceResult.sample_variance,
    NORMALIZED: VarianceResult.normalized_variance,
}
"""For each quantity, the method that returns its values of all units."""

EQUIVARIANCE_ERROR, FLOOR = "equivariance error", "floor"
"""Further quantities of an equivariance: that of each layer, and the NV of the images themselves."""

FORMULA_SIGNS = "=+-@\t\r\n"


class ResultRow(NamedTuple):
    """Mean of TV, SV or NV over the finite units of one layer or of all layers, with its origin.

    An equivariance has further rows, whose value is no mean: the equivariance error of each layer, without a standard
    error, and the floor, which is of no units.

    Attributes:
        steps: Number of transformations.
        trained_on: Model of the pair: ``"unrotated"``, ``"rotated"`` or ``"untrained"``.
        group: ``"all"``, ``"stratified"`` or the name of a class.
        quantity: ``"transformation"``, ``"sample"``, ``"normalized"``, ``"equivariance error"`` or ``"floor"``.
        level: ``"layer"`` or ``"global"``.
        value: The mean.
        standard_error: Standard error over samples, like the 95 % interval from ``low95`` to ``high95``.
        varying_value: The mean without constant units and those of rounding alone, which ``value`` includes; NaN if
            none is left. ``varying_standard_error``, ``varying_low95`` and ``varying_high95`` belong to it.
        units: Number of units; the mean leaves out the ``infinite`` and ``undefined`` ones.
        constant: Number of units with TV = SV = 0.
        rounding: Number of further units whose TV and SV are only rounding, so that their NV means nothing.
        weights: Digest of the weights.
        seed: Random seed for the choice and order of samples.
        published_2019: Value in the paper, for global means of NV.
    """

    model: str
    dataset: str
    transformation: str
    steps: int
    aggregation: str
    control: str | None
    trained_on: str
    group: str
    quantity: str
    level: str
    layer_index: int | None
    layer: str | None
    value: float
    standard_error: float
    low95: float
    high95: float
    varying_value: float
    varying_standard_error: float
    varying_low95: float
    varying_high95: float
    units: int
    constant: int
    rounding: int
    infinite: int
    undefined: int
    samples: int
    weights: str | None
    training_seed: int | None
    seed: int
    published_2019: float | None

    @property
    def estimate(self) -> Estimate:
        """The mean with its standard error."""
        return Estimate(self.value, self.standard_error)

    def of_varying(self) -> "ResultRow":
        """Return the row with the mean, the error and the interval of the units that vary as its own."""
        names = "value", "standard_error", "low95", "high95"
        return self._replace(**{name: getattr(self, f"varying_{name}") for name in names})

    @property
    def not_finite(self) -> int:
        """Number of units that the mean leaves out."""
        return self.infinite + self.undefined


Rows = dict[tuple[str, str, str], list[ResultRow]]
"""For each (model, group, quantity): a row per layer, in order of execution, then the global row.

Of an equivariance error, there is no global row, and of a floor, no row per layer.
"""

_known: WeakKeyDictionary[VariancePair, Rows] = WeakKeyDictionary()


def rows_of(pair: VariancePair) -> Rows:
    """Return all rows of a measurement; the first call computes them."""
    if pair not in _known:
        _known[pair] = {
            (trained_on, group, quantity): _rows(pair, trained_on, group, quantity)
            for trained_on, result in pair.results.items()
            for group in result.groups
            for quantity in UNITS
            if group != STRATIFIED or quantity == NORMALIZED
        }
        for trained_on, result in pair.results.items():
            if isinstance(result, EquivarianceResult):
                of_all = _known[pair][trained_on, ALL, NORMALIZED]
                _known[pair] |= {
                    (trained_on, ALL, quantity): rows for quantity, rows in _further_rows(result, of_all).items()
                }
    return _known[pair]


def layer_rows(pair: VariancePair, trained_on: str, group: str, *, varying: bool = False) -> list[ResultRow]:
    """Return the layer means of NV, in order of execution; ``varying`` leaves out units that never vary."""
    rows = rows_of(pair)[trained_on, group, NORMALIZED][:-1]
    return [row.of_varying() for row in rows] if varying else rows


def global_row(pair: VariancePair, trained_on: str, group: str, *, varying: bool = False) -> ResultRow:
    """Return the global mean of NV; ``varying`` leaves out units that never vary."""
    row = rows_of(pair)[trained_on, group, NORMALIZED][-1]
    return row.of_varying() if varying else row


def csv_text(pairs: Sequence[VariancePair], groups: Container[str] | None = None) -> str:
    """Write the rows of all measurements as CSV; of some groups alone, unless these are None.

    Floats keep their last bit; NaN and None are empty. An apostrophe precedes text that a spreadsheet would take for
    a formula.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ResultRow._fields)
    for pair in pairs:
        for (_, group, _), rows in rows_of(pair).items():
            if groups is None or group in groups:
                writer.writerows(map(_field, row) for row in rows)
    return text.getvalue()


def _field(value: str | float | None) -> str:
    if isinstance(value, str):
        return f"'{value}" if value[:1] and value[0] in FORMULA_SIGNS else value
    return "" if value is None or math.isnan(value) else repr(value)


def _rows(pair: VariancePair, trained_on: str, group: str, quantity: str) -> list[ResultRow]:
    result, of = pair.results[trained_on], (group, quantity)
    values = UNITS[quantity](result, group).values()
    layers = len(values)
    columns = {
        "level": ["layer"] * layers + ["global"],
        "layer_index": [*range(layers), None],
        "layer": [*result.layer_names, None],
        **_means(result, of, varying=False),
        **{f"varying_{name}": column for name, column in _means(result, of, varying=True).items()},
        "units": _with_sum(units.size for units in values),
        "constant": _with_sum(map(np.count_nonzero, result.constant_units(group).values())),
        "rounding": _with_sum(map(np.count_nonzero, result.rounding_units(group).values())),
        "infinite": _with_sum(np.count_nonzero(np.isinf(units)) for units in values),
        "undefined": _with_sum(np.count_nonzero(np.isnan(units)) for units in values),
        "published_2019": [None] * layers + [_published(pair, trained_on, group) if quantity == NORMALIZED else None],
    }
    names = "model", "dataset", "transformation", "aggregation", "control", "seed"
    shared = {name: getattr(pair, name) for name in names} | {
        "steps": len(result.transformations),
        "trained_on": trained_on,
        "group": group,
        "quantity": quantity,
        "samples": result.sample_count(group),
        "weights": pair.weights.get(trained_on),
        "training_seed": pair.training.get(trained_on, {}).get("seed"),
    }
    cells = zip(*columns.values(), strict=True)
    return [ResultRow(**shared, **dict(zip(columns, row, strict=True))) for row in cells]


def _further_rows(result: EquivarianceResult, of_all: Sequence[ResultRow]) -> dict[str, list[ResultRow]]:
    """Return the rows of the quantities that only an equivariance has, given its rows of NV over all samples."""
    *layers, whole = of_all
    error = {name: math.nan for name in ResultRow._fields if name.endswith(("value", "error", "95"))}
    units = dict.fromkeys(("units", "constant", "rounding", "infinite", "undefined"), 0)
    width = CONFIDENCE_95 * result.floor_error
    floor = {
        "quantity": FLOOR, "value": result.floor, "standard_error": result.floor_error,
        "low95": result.floor - width, "high95": result.floor + width, "published_2019": None,
    }  # fmt: skip
    return {
        EQUIVARIANCE_ERROR: [
            row._replace(**error | {"quantity": EQUIVARIANCE_ERROR, "value": value})
            for row, value in zip(layers, result.relative_errors, strict=True)
        ],
        FLOOR: [whole._replace(**error | units | floor)],
    }


def _means(result: VarianceResult, of: tuple[str, str], *, varying: bool) -> dict[str, list[float]]:
    """Return the layer means and, last, the global mean, with their errors and intervals."""
    intervals = [
        *result.layer_intervals(*of, varying=varying).values(), result.global_interval(*of, varying=varying)
    ]  # fmt: skip
    return {
        "value": [*result.layer_means(*of, varying=varying).values(), result.global_mean(*of, varying=varying)],
        "standard_error": [
            *result.layer_errors(*of, varying=varying).values(),
            result.global_error(*of, varying=varying),
        ],
        "low95": [low for low, _ in intervals],
        "high95": [high for _, high in intervals],
    }


def _with_sum(counts: Iterable[int]) -> list[int]:
    counts = [*map(int, counts)]
    return [*counts, sum(counts)]


def _published(pair: VariancePair, trained_on: str, group: str) -> float | None:
    if pair.control is not None or pair.any_result.dispersion != "std" or group not in GROUP_TITLES:
        return None
    return published_global_mean(pair.model, pair.dataset, pair.transformation, pair.aggregation, trained_on, group)
