"""Claim: the variance of the output under rotations depends on the class."""

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np

from pytorch.claims.claim import UNCLEAR, YES, Case, Claim, answer, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import Spread, holm, holm_of_cases, spread
from pytorch.claims.trainings import learned, rotation_pairs
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import UNTRAINED
from pytorch.report.controls import before_training
from pytorch.report.findings import Findings
from pytorch.report.formats import p_text
from pytorch.report.rows import ResultRow, layer_rows
from pytorch.report.table import Estimate, Table, table_of_rows

STATEMENT = "The normalized variance of the output differs between classes by more than its error."
TEST = (
    "Cochran's Q of the classes, whose samples are independent, against χ² with one degree of freedom less than there "
    "are classes. p-values are adjusted for the number of networks (Holm). The test can support the claim but not "
    "refute it."
)
CAPTION = (
    "NV of the last layer (its mean over units) within each class, under rotations. Columns: its mean over classes; "
    "the standard deviation between classes beyond the errors over samples (Hedges & Olkin), absolute and relative to "
    "that mean; the mean of these errors; the lowest and the highest class. Before training: the same for the network "
    f"with its initial weights, whose classes may differ as well. {TEST} Many samples reveal even small differences, "
    "so look at the deviation. With fewer than about a hundred samples per class, the errors are slightly too small "
    "and a yes is more likely. Of several trainings, the table shows the first."
)


def class_spread(found: Findings) -> tuple[Claim | None, Table]:
    """Judge the output of every network; the claim is None without a case."""
    pairs = _one_of_each(found)
    networks = [(pair, name) for pair in pairs for name in pair.results]
    outputs = [_output(pair, name) for pair, name in networks]
    spreads = [_spread(output) for output in outputs]
    judged = [learned(pair, name) for pair, name in networks]
    tested = holm_of_cases([each.p_value for each in spreads], judged)
    before = _spreads_before_training(found, pairs)
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
    sizes = ", ".join(
        f"{what} {range_text([row[head] for row in counted if row[head]])}" for what, head in heads.items()
    )
    if before:
        differ = sum(case.answer == YES for case in cases)
        sizes += f"; of the {differ} that differ, {sum(as_before)} did so before training"
    return Claim(STATEMENT, "Cochran's Q, Holm", sizes, cases), table


def _spreads_before_training(found: Findings, pairs: Sequence[VariancePair]) -> dict[VariancePair, tuple[Spread, str]]:
    """Judge the untrained networks of the pairs, where they were measured."""
    controls = {pair: control for pair in pairs if (control := before_training(pair, found.pairs))}
    spreads = [_spread(_output(control, UNTRAINED)) for control in controls.values()]
    tested = holm([each.p_value for each in spreads])
    return {pair: (each, answer(p, agrees=True)) for pair, each, p in zip(controls, spreads, tested, strict=True)}


def _one_of_each(found: Findings) -> list[VariancePair]:
    """Return one measurement of each pair: all aggregations agree on outputs, which are not feature maps."""
    pairs: dict[tuple[str, str], VariancePair] = {}
    for pair in rotation_pairs(found):
        if len(pair.any_result.classes) > 1:
            pairs.setdefault((pair.model, pair.dataset), pair)
    return [*pairs.values()]


def _output(pair: VariancePair, name: str) -> list[ResultRow]:
    """Return the mean NV of the last layer within each class."""
    return [layer_rows(pair, name, group)[-1] for group in pair.any_result.classes]


def _spread(output: Sequence[ResultRow]) -> Spread:
    return spread(np.array([row.value for row in output]), np.array([row.standard_error for row in output]))


def _class(output: Sequence[ResultRow], extreme: Callable[..., ResultRow | None]) -> str:
    """Name the class with the lowest or the highest value."""
    row = extreme((row for row in output if isfinite(row.value)), key=lambda row: row.value, default=None)
    return f"{row.group} ({row.value:.2f})" if row else ""


def _relative(found: Spread) -> str:
    """Write the deviation between classes as a percentage of their mean."""
    known = isfinite(found.deviation) and found.mean > 0
    return f"{100 * found.deviation / found.mean:.1f} %" if known else "–"
