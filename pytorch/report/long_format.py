"""All means of all measurements in one CSV file, a number's whole story in each row."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytorch.experiments.variance_pair import VariancePair
from pytorch.files.whole_file import whole_file
from pytorch.report.published import published_global_mean
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL, STRATIFIED
from pytorch.variance.standard_errors import QUANTITIES

COLUMNS = [
    "model", "dataset", "transformation", "steps", "aggregation", "control", "trained_on", "group", "quantity",
    "level", "layer_index", "layer", "value", "standard_error", "low95", "high95",
    "units", "constant", "rounding", "infinite", "undefined", "samples", "weights", "training_seed", "seed",
    "published_2019",
]  # fmt: skip
"""``seed`` is that of the order and choice of samples.

``constant`` counts units whose TV and SV are 0, and ``rounding`` others whose TV and SV are of rounding alone, so that
their NV says nothing; the mean leaves out the ``infinite`` and the ``undefined`` ones.
"""

FORMULA_SIGNS = "=+-@\t\r\n"


def write_csv(path: Path, pairs: Sequence[VariancePair]) -> None:
    """Write a row for each mean of a layer and for each global mean, of all measurements, groups and quantities.

    Floats are written to the last bit; NaN, and what does not apply, is empty. Text that a spreadsheet would take
    for a formula has an apostrophe before it.

    Raises:
        FileError: The file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for pair in pairs:
        writer.writerows({name: _field(value) for name, value in row.items()} for row in _rows_of_pair(pair))
    with whole_file(path) as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _field(value: str | float | None) -> str:
    if isinstance(value, str):
        return f"'{value}" if value[:1] and value[0] in FORMULA_SIGNS else value
    if value is None or math.isnan(value):
        return ""
    return repr(value)


def _rows_of_pair(pair: VariancePair) -> Iterator[dict[str, Any]]:
    for trained_on, result in pair.results.items():
        for group in result.groups:
            origin = {
                "model": pair.model,
                "dataset": pair.dataset,
                "transformation": pair.transformation,
                "steps": len(result.transformations),
                "aggregation": pair.aggregation,
                "control": pair.control,
                "trained_on": trained_on,
                "group": group,
                "samples": result.sample_count(group),
                "weights": pair.weights.get(trained_on),
                "training_seed": pair.training.get(trained_on, {}).get("seed"),
                "seed": pair.seed,
            }
            for quantity in ("normalized",) if group == STRATIFIED else QUANTITIES:
                published = published_value(pair, trained_on, group) if quantity == "normalized" else None
                for row in _means(result, group, quantity):
                    beside = published if row["level"] == "global" else None
                    yield {**origin, "quantity": quantity, **row, "published_2019": beside}


def published_value(pair: VariancePair, trained_on: str, group: str) -> float | None:
    """Look up what was published in 2019 to compare a global mean of NV with; None: nothing."""
    if pair.control is not None or pair.any_result.dispersion != "std" or group not in (ALL, STRATIFIED):
        return None
    return published_global_mean(pair.model, pair.dataset, pair.transformation, pair.aggregation, trained_on, group)


def _means(result: VarianceResult, group: str, quantity: str) -> Iterator[dict[str, Any]]:
    """The means of the layers in order, and then the global one, each with its error, interval and counts."""
    values = _units(result, group, quantity)
    marked = {"constant": result.constant_units(group), "rounding": result.rounding_units(group)}
    errors, intervals = result.layer_errors(group, quantity), result.layer_intervals(group, quantity)
    for index, (layer, mean) in enumerate(result.layer_means(group, quantity).items()):
        place = {"level": "layer", "layer_index": index, "layer": layer}
        counts = _counts([values[layer]], {name: [units[layer]] for name, units in marked.items()})
        yield {**place, **_estimate(mean, errors[layer], intervals[layer]), **counts}
    mean, error = result.global_mean(group, quantity), result.global_error(group, quantity)
    found = _estimate(mean, error, result.global_interval(group, quantity))
    counts = _counts([*values.values()], {name: [*units.values()] for name, units in marked.items()})
    yield {"level": "global", **found, **counts}


def _units(result: VarianceResult, group: str, quantity: str) -> dict[str, np.ndarray]:
    if quantity == "normalized":
        return result.normalized_variance(group)
    return result.transformation_variance(group) if quantity == "transformation" else result.sample_variance(group)


def _estimate(mean: float, error: float, interval: tuple[float, float]) -> dict[str, float]:
    return {"value": mean, "standard_error": error, "low95": interval[0], "high95": interval[1]}


def _counts(values: Sequence[np.ndarray], marked: dict[str, list[np.ndarray]]) -> dict[str, int]:
    return {
        "units": sum(part.size for part in values),
        **{name: sum(int(part.sum()) for part in parts) for name, parts in marked.items()},
        "infinite": sum(int(np.isinf(part).sum()) for part in values),
        "undefined": sum(int(np.isnan(part).sum()) for part in values),
    }
