"""Claim: how variant the output is to rotations depends on the class."""

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np

from pytorch.claims.claim import UNCLEAR, YES, Case, Claim, answer, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import Spread, holm, holm_of_cases, spread
from pytorch.claims.trainings import before_training, learned, rotation_pairs
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import UNTRAINED
from pytorch.report.findings import Findings
from pytorch.report.formats import p_text
from pytorch.report.rows import ResultRow, layer_rows
from pytorch.report.table import Estimate, Table, table_of_rows

STATEMENT = "The normalized variance of the output differs from class to class by more than its error."
TEST = (
    "Cochran's Q of the classes, whose samples are independent of each other's, against χ² with one degree of freedom "
    "less than there are classes; p-values are adjusted for the number of networks (Holm). It can "
    "affirm the claim and not refute it."
)
CAPTION = (
    "NV of the last layer (its mean over units) within each class, under rotations: its mean over classes, the "
    "standard deviation between the classes beyond what the errors over samples account for (Hedges & Olkin), by "
    "itself and relative to that mean, the mean of these errors, and the extremes. Before training: the same of the "
    f"network with its initial weights, whose classes may differ, too. {TEST} With many samples any difference is "
    "seen: look at the deviation. With fewer than about a hundred samples of a class its errors are somewhat too "
    "short, and a yes comes more easily. Of several trainings this is the first."
)


def class_spread(found: Findings) -> tuple[Claim | None, Table]:
    """Judge the output of every network; the claim is None if no labelled samples were measured."""
    pairs = _one_of_each(found)
    networks = [(pair, name) for pair in pairs for name in pair.results]
    outputs = [_output(pair, name) for pair, name in networks]
    spreads = [_spread(output) for output in outputs]
    judged = [learned(pair, name) for pair, name in networks]
    tested = holm_of_cases([each.p_value for each in spreads], judged)
    before = _before_training(found, pairs)
    rows, cases, as_before = [], [], []
    for (pair, name), output, each, p, counts in zip(networks, outputs, spreads, tested, judged, strict=True):
        found_answer = answer(p, agrees=True) if counts else AT_CHANCE
        control, differed = before.get(pair, (None, UNCLEAR))
        if counts:
            cases.append(Case((pair.model, pair.dataset, name), found_answer))
            as_before.append(found_answer == differed == YES)
        samples = [row.samples for row in output]
        rows.append({
            "model": pair.model,
            "dataset": pair.dataset,
            "trained on": name,
            "layer": output[0].layer,
            "samples of a class": " to ".join(dict.fromkeys(map(str, (min(samples), max(samples))))),
            "mean over classes": Estimate(each.mean),
            "deviation between classes": Estimate(each.deviation),
            "relative deviation": _relative(each),
            "error of a class": Estimate(each.error),
            "least": _class(output, min),
            "most": _class(output, max),
            "before training": control and Estimate(control.deviation),
            "relative deviation before training": control and _relative(control),
            "p": p_text(p),
            "differs": found_answer,
        })  # fmt: skip
    table = table_of_rows("class-spread", "The output, class by class", CAPTION, rows)
    if not cases:
        return None, table
    counted = [row for row in rows if row["differs"] != AT_CHANCE]
    heads = {
        "deviations between classes": "deviation between classes",
        "errors": "error of a class",
        "deviations before training": "before training",
    }
    told = ", ".join(
        f"{what} {range_text([row[head] for row in counted if row[head]])}" for what, head in heads.items()
    )
    if before:
        told += (
            f"; of the {sum(case.answer == YES for case in cases)} that differ, {sum(as_before)} did so before training"
        )
    return Claim(STATEMENT, "Cochran's Q, Holm", told, cases), table


def _before_training(found: Findings, pairs: Sequence[VariancePair]) -> dict[VariancePair, tuple[Spread, str]]:
    """Judge the networks of the pairs as they were before training, where that was measured, together."""
    controls = {pair: control for pair in pairs if (control := before_training(found, pair))}
    spreads = [_spread(_output(control, UNTRAINED)) for control in controls.values()]
    tested = holm([each.p_value for each in spreads])
    return {pair: (each, answer(p, agrees=True)) for pair, each, p in zip(controls, spreads, tested, strict=True)}


def _one_of_each(found: Findings) -> list[VariancePair]:
    """Take one measurement of each pair: on outputs, which are no maps, all aggregations agree."""
    pairs: dict[tuple[str, str], VariancePair] = {}
    for pair in rotation_pairs(found):
        if len(pair.any_result.classes) > 1:
            pairs.setdefault((pair.model, pair.dataset), pair)
    return [*pairs.values()]


def _output(pair: VariancePair, name: str) -> list[ResultRow]:
    """The last layer in each class."""
    return [layer_rows(pair, name, group)[-1] for group in pair.any_result.classes]


def _spread(output: Sequence[ResultRow]) -> Spread:
    return spread(np.array([row.value for row in output]), np.array([row.standard_error for row in output]))


def _class(output: Sequence[ResultRow], extreme: Callable[..., ResultRow | None]) -> str:
    """Name the class with the lowest or highest value."""
    row = extreme((row for row in output if isfinite(row.value)), key=lambda row: row.value, default=None)
    return f"{row.group} ({row.value:.2f})" if row else ""


def _relative(found: Spread) -> str:
    """The deviation between classes in relation to their mean."""
    known = isfinite(found.deviation) and found.mean > 0
    return f"{100 * found.deviation / found.mean:.1f} %" if known else "–"
