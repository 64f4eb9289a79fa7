"""Tables that summarise measurements."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any

from pytorch.experiments.published import notes as published_notes
from pytorch.experiments.published import published_accuracy
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS, SHUFFLED, STATES, UNTRAINED
from pytorch.figures.style import of_units
from pytorch.names import EQUIVARIANCE
from pytorch.report.controls import before_training, controls_of
from pytorch.report.formats import estimate_text
from pytorch.report.rows import ResultRow, global_row, layer_rows
from pytorch.report.table import Cell, Estimate, Row, Table, table_of_rows
from pytorch.variance.equivariance import EquivarianceResult
from pytorch.variance.result import ALL, GROUP_TITLES

MEASURES_NOTE = "All samples: NV over all samples. Stratified: the mean over classes of NV within each class."
ERRORS_NOTE = (
    "± is one standard error over samples; it says nothing about other trainings. (The intervals in results.csv also "
    "correct the bias of NV for few samples, so they are not centred on the value.)"
)

EQUIVARIANCE_NOTE = (
    "Same-equivariance is the NV of feature maps that are turned back by the inverse transformation: 0 where a map "
    "turns with the image. Its units are channels, and its errors include the choice of positions."
)

COUNTED = {
    False: "Constant units (0/0, such as dead ReLUs) count as 1.",
    True: "Means leave out constant units (0/0, such as dead ReLUs) and those that vary by rounding alone. Published "
    "means count constant units as 1.",
}
"""What means make of units that never vary."""

ROUNDING_NOTE = (
    "Rounding: units that vary only by rounding, so that their NV means nothing; means without constant units leave "
    "them out too."
)

EQUIVARIANCE_ERROR_NOTE = (
    "Equivariance error: the root mean square of a turned-back map minus its mean over the transformations, relative "
    "to that of the map."
)

COLUMN_NOTES = {
    "before training": "Before training: the network with the initial weights of both models.",
    "weights": "Weights: the first digits of the digests of both models; there were several trainings.",
    **dict.fromkeys((f"rounding, {name}" for name in (*PAIR, *STATES)), ROUNDING_NOTE),
    **dict.fromkeys((f"equivariance error, {name}" for name in (*PAIR, *STATES)), EQUIVARIANCE_ERROR_NOTE),
}

DIGITS_SHOWN = 8


def results_tables(pairs: Sequence[VariancePair], varying: bool = False) -> list[Table]:
    """Make the tables of accuracies, global means of NV, shuffled controls and layer means, in this order.

    Tables without rows are left out, and so are columns without any content.

    Args:
        pairs: Measurements and controls, in the order of the tables.
        varying: Whether means leave out units that are constant or vary only by rounding.
    """
    measured = [pair for pair in pairs if pair.control is None]
    tables = [_accuracies(pairs)]
    for name, title, some in (
        ("global-means", "Global mean of the normalized variance", [pair for pair in measured if pair.is_pair]),
        ("other-networks", "Other networks: global mean of NV", [pair for pair in measured if not pair.is_pair]),
    ):
        tables.append(_global_means(name, of_units(title, varying), some, pairs, varying))
    tables += [_shuffled(measured, pairs, varying), *(_layer_means(pair, pairs, varying) for pair in measured)]
    return named_apart([table for table in tables if table.rows])


def _accuracies(pairs: Sequence[VariancePair]) -> Table:
    rows: dict[tuple[Any, ...], Row] = {}
    for pair in pairs:
        if any(pair.accuracy.values()):
            row = {
                "model": pair.model, "dataset": pair.dataset, "weights": _weights(pair, pairs),
                "seed": pair.training_seed, "test images": _test_images(pair), **_scores(pair),
            }  # fmt: skip
            rows.setdefault((pair.model, pair.dataset, *pair.weights.items()), row)
    caption = "Accuracy of both models of each measured pair on upright and on rotated test data."
    return _table("accuracy", "Accuracy", caption, [*rows.values()])


def _test_images(pair: VariancePair) -> int | None:
    """Number of images that both models were evaluated on; None if unknown or different."""
    counts = {sum(curve.counts) for curve in pair.angle_curves.values()}
    return counts.pop() if len(counts) == 1 and len(pair.angle_curves) == len(PAIR) else None


def _scores(pair: VariancePair) -> Row:
    """Four accuracies of a pair, then the published ones."""
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


def _global_means(
    name: str, title: str, measured: Sequence[VariancePair], pairs: Sequence[VariancePair], varying: bool
) -> Table:
    rows = [_global_row(pair, group, pairs, varying) for pair in measured for group in pair.any_result.summary_groups]
    difference = "rotated − unrotated" if all(pair.is_pair for pair in measured) else "trained − untrained"
    caption = (
        f"NV = TV / SV, averaged over the finite units of all layers together. {MEASURES_NOTE} {ERRORS_NOTE} The "
        f"difference is {difference}. Both models saw the same samples, so its error does not follow from "
        f"theirs; their sum is an upper bound. {COUNTED[varying]} Where there are any, the table counts them and adds "
        f"the mean {'with' if varying else 'without'} them."
    )
    if any(pair.aggregation == EQUIVARIANCE for pair in measured):
        caption += f" {EQUIVARIANCE_NOTE}"
    return _table(name, title, caption, rows)


def _global_row(pair: VariancePair, group: str, pairs: Sequence[VariancePair], varying: bool) -> Row:
    models = [global_row(pair, name, group, varying=varying) for name in pair.results]
    before = before_training(pair, pairs)
    return {
        **_measurement(pair, group, pairs, varying),
        "difference": Estimate(models[1].value - models[0].value) if pair.has_both else None,
        **{
            f"2019 {row.trained_on}": None if row.published_2019 is None else Estimate(row.published_2019)
            for row in models
        },
        "before training": global_row(before, UNTRAINED, group, varying=varying).estimate if before else None,
        "samples": models[0].samples,
        **_constant_units(pair, models, varying),
    }


def _constant_units(pair: VariancePair, models: Sequence[ResultRow], varying: bool) -> Row:
    """Count the units of each model that do not vary, with the other global mean; empty if all vary."""
    cells: Row = {"units": models[0].units}
    for what in ("constant", "rounding"):
        counts = {f"{what}, {row.trained_on}": getattr(row, what) for row in models}
        cells |= counts if any(counts.values()) else dict.fromkeys(counts)
    for row in models:
        other = global_row(pair, row.trained_on, row.group, varying=not varying)
        cells[f"{'with' if varying else 'without'} them, {row.trained_on}"] = Estimate(other.value)
    return cells if any(row.constant or row.rounding for row in models) else dict.fromkeys(cells)


def _shuffled(measured: Sequence[VariancePair], pairs: Sequence[VariancePair], varying: bool) -> Table:
    found = [controls_of(pair, pairs).get(SHUFFLED) for pair in measured]
    rows = [
        {**_measurement(control, group, pairs, varying), "samples": control.any_result.sample_count(group)}
        for control in filter(None, found)
        for group in control.any_result.summary_groups
    ]
    caption = (
        "Global mean of NV with the samples permuted across transformations, a control of the measure. It is near 1, "
        "and higher where a transformation shifts all samples alike; single layers differ more from 1. "
        f"{MEASURES_NOTE} {ERRORS_NOTE}"
    )
    return _table("shuffled", of_units("Control: samples shuffled", varying), caption, rows)


def _measurement(pair: VariancePair, group: str, pairs: Sequence[VariancePair], varying: bool) -> Row:
    """Cells that identify a row of global means, and the means."""
    names = PAIR if pair.is_pair else STATES
    means = {
        name: global_row(pair, name, group, varying=varying).estimate if name in pair.results else None
        for name in names
    }
    return {
        "model": pair.model,
        "dataset": pair.dataset,
        "weights": _weights(pair, pairs),
        "transformation": pair.transformation,
        "steps": len(pair.any_result.transformations),
        "aggregation": pair.aggregation,
        "measure": GROUP_TITLES[group],
        **means,
    }


def _weights(pair: VariancePair, pairs: Sequence[VariancePair]) -> str | None:
    """Name a training by its weights, if several trainings of this model and data set were measured."""
    trainings = {
        tuple(other.weights.values())
        for other in pairs
        if (other.model, other.dataset) == (pair.model, pair.dataset) and other.control != RANDOM_WEIGHTS
    }
    return " / ".join(digest[:DIGITS_SHOWN] for digest in pair.weights.values()) if len(trainings) > 1 else None


def _layer_means(pair: VariancePair, pairs: Sequence[VariancePair], varying: bool) -> Table:
    result = pair.any_result
    what = f"{pair.model} on {pair.dataset}, {pair.transformation}, aggregation {pair.aggregation}"
    weights = ", ".join(f"{digest} ({trained_on})" for trained_on, digest in pair.weights.items())
    caption = (
        f"NV = TV / SV, averaged over the finite units of each layer, in order of execution. {MEASURES_NOTE} "
        f"{ERRORS_NOTE} {COUNTED[varying]} Units that are not finite are left out. The table counts these units, over "
        "all samples, where there are any. "
        f"{result.samples} samples, {len(result.transformations)} transformations; weights: {weights}."
    )
    if isinstance(result, EquivarianceResult):
        caption += (
            f" {EQUIVARIANCE_NOTE} The images themselves, turned and turned back, have an NV of "
            f"{estimate_text(Estimate(result.floor, result.floor_error))} (floor), from interpolation alone."
        )
    name = slug("layers", pair.model, pair.dataset, pair.transformation, pair.aggregation)
    title = f"{of_units('Layer means of the normalized variance', varying)}: {what}"
    return _table(name, title, caption, _layer_rows(pair, pairs, varying))


def _layer_rows(pair: VariancePair, pairs: Sequence[VariancePair], varying: bool) -> list[Row]:
    rows = {name: layer_rows(pair, name, ALL) for name in pair.results}
    columns: dict[str, dict[str, Cell]] = {"units": {row.layer: row.units for row in next(iter(rows.values()))}}
    for name, of_layers in rows.items():
        for what in ("constant", "rounding", "not finite"):
            counts = {row.layer: getattr(row, what.replace(" ", "_")) for row in of_layers}
            columns[f"{what}, {name}"] = counts if any(counts.values()) else {}
    before = before_training(pair, pairs)
    for each, name, head in [*((pair, name, name) for name in pair.results), (before, UNTRAINED, "before training")]:
        for group in each.any_result.summary_groups if each else ():
            means = layer_rows(each, name, group, varying=varying)
            columns[f"{head}, {GROUP_TITLES[group]}"] = {row.layer: row.estimate for row in means}
    for name, result in pair.results.items():
        if isinstance(result, EquivarianceResult):
            errors = result.equivariance_errors().items()
            columns[f"equivariance error, {name}"] = {layer: Estimate(error) for layer, error in errors}
    return [
        {"layer": layer, **{head: cells.get(layer) for head, cells in columns.items()}} for layer in columns["units"]
    ]


def _table(name: str, title: str, caption: str, rows: list[Row]) -> Table:
    """Make a table, and explain in its caption the columns that only some tables have."""
    table = table_of_rows(name, title, caption, rows)
    notes = [caption]
    if any(head.startswith("2019") for head in table.columns):
        notes += published_notes([(row["model"], row["dataset"]) for row in rows])
    notes += dict.fromkeys(note for head, note in COLUMN_NOTES.items() if head in table.columns)
    return replace(table, caption=" ".join(notes))


def slug(*names: str) -> str:
    """Turn any names into one name for files and links.

    >>> slug("layers", "simple_conv", "My Set!")
    'layers-simple-conv-my-set'
    """
    return re.sub("[^a-z0-9]+", "-", "-".join(names).lower()).strip("-")


def named_apart(tables: Sequence[Table]) -> list[Table]:
    """Number the tables whose names are taken."""
    named: dict[str, Table] = {}
    for table in tables:
        names = (f"{table.name}-{number}" for number in count(2))
        name = next(name for name in chain([table.name], names) if name not in named)
        named[name] = replace(table, name=name)
    return [*named.values()]
