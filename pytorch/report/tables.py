"""From measurements to the tables that sum them up."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any

import numpy as np

from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS, ROTATED, SHUFFLED, UNROTATED, UNTRAINED
from pytorch.report.controls import before_training, controls_of
from pytorch.report.long_format import published_value
from pytorch.report.published import notes as published_notes
from pytorch.report.published import published_accuracy
from pytorch.report.table import Cell, Estimate, Row, Table, table_of_rows
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL, STRATIFIED

MEASURES = {ALL: "all samples", STRATIFIED: "stratified"}
MEASURES_NOTE = "All samples: NV over all of them; stratified: the mean over classes of NV within each class."
ERRORS_NOTE = (
    "± is one standard error over samples; it does not tell how another training would come out. (The intervals in "
    "results.csv are also without the bias that NV has of few samples, so that they are not centred on the value.)"
)

ROUNDING_NOTE = (
    "Rounding: units that vary by rounding alone, so that their NV says nothing; a mean without constant units is one "
    "without them, too."
)

COLUMN_NOTES = {
    "before training": "Before training: a network with the weights that the training of both started from.",
    "weights": "Weights: the first digits of the digests of both models, as there were several trainings.",
    **dict.fromkeys((f"rounding, {name}" for name in PAIR), ROUNDING_NOTE),
}

DIGITS_SHOWN = 8


def results_tables(pairs: Sequence[VariancePair]) -> list[Table]:
    """Sum measurements up in tables, in their order: accuracies, global means of NV, shuffled controls, layer means.

    A table without rows is left out, and so is a column in which no row has anything.

    Args:
        pairs: Of any models, data sets, transformations and aggregations, and controls of them.
    """
    measured = [pair for pair in pairs if pair.control is None]
    tables = [_accuracies(pairs), _global_means(measured, pairs), _shuffled(measured, pairs)]
    tables += [_layer_means(pair, pairs) for pair in measured]
    return _named_apart([table for table in tables if table.rows])


def _accuracies(pairs: Sequence[VariancePair]) -> Table:
    rows: dict[tuple[Any, ...], Row] = {}
    for pair in pairs:
        if any(pair.accuracy.values()):
            row = {
                "model": pair.model, "dataset": pair.dataset, "weights": _weights(pair, pairs),
                "seed": pair.training_seed, "test images": _test_images(pair), **_scores(pair),
            }  # fmt: skip
            rows.setdefault((pair.model, pair.dataset, *pair.weights.items()), row)
    caption = "Of both models of each pair that was measured and is drawn, on upright and on rotated test data."
    return _table("accuracy", "Accuracy", caption, [*rows.values()])


def _test_images(pair: VariancePair) -> int | None:
    """On how many images both models were evaluated; None: it is not known of both, or they differ."""
    counts = {sum(curve.counts) for curve in pair.angle_curves.values()}
    return counts.pop() if len(counts) == 1 and len(pair.angle_curves) == len(PAIR) else None


def _scores(pair: VariancePair) -> Row:
    """The four accuracies of a pair, and then those that were published."""
    ours, published = {}, {}
    for trained_on in PAIR:
        for data in ("upright", "rotated"):
            accuracy = pair.accuracy.get(trained_on, {}).get(data)
            ours[f"{trained_on} model, {data} data"] = _percentage(accuracy, 2)
            accuracy = published_accuracy(pair.model, pair.dataset, trained_on, data)
            published[f"2019 {trained_on}, {data}"] = _percentage(accuracy, 1)
    return ours | published


def _percentage(fraction: float | None, decimals: int) -> str | None:
    return None if fraction is None else f"{100 * fraction:.{decimals}f} %"


def _global_means(measured: Sequence[VariancePair], pairs: Sequence[VariancePair]) -> Table:
    rows = [_global_row(pair, group, pairs) for pair in measured for group in _groups(pair)]
    caption = (
        f"NV = TV / SV, its mean over the finite units of all layers together. {MEASURES_NOTE} {ERRORS_NOTE} The "
        "difference is rotated − unrotated; both models saw the same samples, so that its error does not follow from "
        "theirs: their sum is an upper bound. Constant units (0/0: dead ReLUs, say) count as 1; where there are any "
        "they are counted, and the mean without them stands beside."
    )
    return _table("global-means", "Global mean of the normalized variance", caption, rows)


def _global_row(pair: VariancePair, group: str, pairs: Sequence[VariancePair]) -> Row:
    means = {trained_on: _global_mean(pair, trained_on, group) for trained_on in PAIR}
    published = {trained_on: published_value(pair, trained_on, group) for trained_on in PAIR}
    untrained = before_training(pair, pairs)
    return {
        **_measurement(pair, group, pairs),
        **means,
        "difference": Estimate(means[ROTATED].value - means[UNROTATED].value, math.nan),
        **{f"2019 {name}": None if value is None else Estimate(value, math.nan) for name, value in published.items()},
        "before training": _global_mean(untrained, UNTRAINED, group) if untrained else None,
        "samples": pair.any_result.sample_count(group),
        **_constant_units(pair, group),
    }


def _constant_units(pair: VariancePair, group: str) -> Row:
    """How many units of each model do not vary, and its global mean without them; nothing where all do."""
    counts = {name: pair.results[name].unit_counts(group) for name in PAIR}
    marked: Row = {}
    for what in ("constant", "rounding"):
        some = any(units[what] for units in counts.values())
        marked |= {f"{what}, {name}": units[what] if some else None for name, units in counts.items()}
    without = {
        f"without them, {name}": Estimate(pair.results[name].global_mean(group, varying=True), math.nan)
        for name in PAIR
    }
    row = {"units": counts[UNROTATED]["units"], **marked, **without}
    return row if any(marked.values()) else dict.fromkeys(row)


def _shuffled(measured: Sequence[VariancePair], pairs: Sequence[VariancePair]) -> Table:
    found = [controls_of(pair, pairs).get(SHUFFLED) for pair in measured]
    rows = [
        {
            **_measurement(control, group, pairs),
            **{trained_on: _global_mean(control, trained_on, group) for trained_on in PAIR},
            "samples": control.any_result.sample_count(group),
        }
        for control in filter(None, found)
        for group in _groups(control)
    ]
    caption = (
        "The global mean of NV with the samples permuted across transformations, a control of the measure: it comes "
        "out near 1, above it as far as a transformation shifts all samples alike; single layers lie further off. "
        f"{MEASURES_NOTE} {ERRORS_NOTE}"
    )
    return _table("shuffled", "Control: samples shuffled", caption, rows)


def _measurement(pair: VariancePair, group: str, pairs: Sequence[VariancePair]) -> Row:
    """What tells one row of global means from another."""
    return {
        "model": pair.model,
        "dataset": pair.dataset,
        "weights": _weights(pair, pairs),
        "transformation": pair.transformation,
        "steps": len(pair.any_result.transformations),
        "aggregation": pair.aggregation,
        "measure": MEASURES[group],
    }


def _weights(pair: VariancePair, pairs: Sequence[VariancePair]) -> str | None:
    """Tell a training by the digests of its weights, where there are measurements of several such trainings."""
    trainings = {
        tuple(other.weights.values())
        for other in pairs
        if (other.model, other.dataset) == (pair.model, pair.dataset) and other.control != RANDOM_WEIGHTS
    }
    return " / ".join(digest[:DIGITS_SHOWN] for digest in pair.weights.values()) if len(trainings) > 1 else None


def _groups(pair: VariancePair) -> list[str]:
    return [group for group in pair.any_result.groups if group in MEASURES]


def _global_mean(pair: VariancePair, trained_on: str, group: str) -> Estimate:
    result = pair.results[trained_on]
    return Estimate(result.global_mean(group), result.global_error(group))


def _layer_means(pair: VariancePair, pairs: Sequence[VariancePair]) -> Table:
    result = pair.any_result
    what = f"{pair.model} on {pair.dataset}, {pair.transformation}, aggregation {pair.aggregation}"
    weights = ", ".join(f"{digest} ({trained_on})" for trained_on, digest in pair.weights.items())
    caption = (
        f"NV = TV / SV, its mean over the finite units of each layer, in order of execution. {MEASURES_NOTE} "
        f"{ERRORS_NOTE} Constant units (0/0) count as 1 in the means, and units that are not finite are left out; both "
        "are counted, where there are any, over all samples. "
        f"{result.samples} samples, {len(result.transformations)} transformations; weights: {weights}."
    )
    name = _slug("layers", pair.model, pair.dataset, pair.transformation, pair.aggregation)
    return _table(name, f"Layer means of the normalized variance: {what}", caption, _layer_rows(pair, pairs))


def _layer_rows(pair: VariancePair, pairs: Sequence[VariancePair]) -> list[Row]:
    sizes: dict[str, Cell] = {}
    counts: dict[str, dict[str, Cell]] = {}
    means: dict[str, dict[str, Cell]] = {}
    for trained_on in PAIR:
        result = pair.results[trained_on]
        values = result.normalized_variance()
        sizes |= {layer: units.size for layer, units in values.items()}
        counts[f"constant, {trained_on}"] = _count(result.constant_units(), np.asarray)
        counts[f"rounding, {trained_on}"] = _count(result.rounding_units(), np.asarray)
        counts[f"not finite, {trained_on}"] = _count(values, lambda units: ~np.isfinite(units))
        for group in _groups(pair):
            means[f"{trained_on}, {MEASURES[group]}"] = _estimates(result, group)
    untrained = before_training(pair, pairs)
    for group in _groups(untrained) if untrained else ():
        means[f"before training, {MEASURES[group]}"] = _estimates(untrained.any_result, group)
    columns = {"units": sizes, **counts, **means}
    return [{"layer": layer, **{head: cells.get(layer) for head, cells in columns.items()}} for layer in sizes]


def _estimates(result: VarianceResult, group: str) -> dict[str, Cell]:
    errors = result.layer_errors(group)
    return {layer: Estimate(mean, errors[layer]) for layer, mean in result.layer_means(group).items()}


def _count(values: dict[str, np.ndarray], which: Callable[[np.ndarray], np.ndarray]) -> dict[str, Cell]:
    """Count units layer by layer; nothing if there are none in any layer."""
    counts = {layer: int(which(units).sum()) for layer, units in values.items()}
    return counts if any(counts.values()) else {}


def _table(name: str, title: str, caption: str, rows: list[Row]) -> Table:
    """Lay rows out, without the columns in which none has anything, and explain those that are not always there."""
    table = table_of_rows(name, title, caption, rows)
    notes = [caption]
    if any(head.startswith("2019") for head in table.columns):
        notes += published_notes([(row["model"], row["dataset"]) for row in rows])
    notes += dict.fromkeys(note for head, note in COLUMN_NOTES.items() if head in table.columns)
    return replace(table, caption=" ".join(notes))


def _slug(*names: str) -> str:
    """Make a name for files and links of names that may have any characters.

    >>> _slug("layers", "simple_conv", "My Set!")
    'layers-simple-conv-my-set'
    """
    return re.sub("[^a-z0-9]+", "-", "-".join(names).lower()).strip("-")


def _named_apart(tables: Sequence[Table]) -> list[Table]:
    """Number those whose names would be another's."""
    named: dict[str, Table] = {}
    for table in tables:
        names = (f"{table.name}-{number}" for number in count(2))
        name = next(name for name in chain([table.name], names) if name not in named)
        named[name] = replace(table, name=name)
    return [*named.values()]
